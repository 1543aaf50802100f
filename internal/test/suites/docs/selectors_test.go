package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// labelledByReaders are labels that none of our objects has: pages tell the reader to set them, or say which objects
// have them.
var labelledByReaders = map[string]string{
	"keys.nexuscommerce.io/proxies": "on the namespaces of proxies",
	"keys.nexuscommerce.io/console": "on the ingress's namespace",
	"kubernetes.io/metadata.name":   "every namespace has it, and these are other projects'",
}

// TestSelectors checks every selector of the documentation, its scripts and the manifests on the objects of an
// installation with the samples and the examples: each selects something, unless its page says that it selects nothing.
func TestSelectors(t *testing.T) {
	r := newReaderWithPrograms(t)
	newStart(t, r, blocksToApply(t))
	r.settle(t)
	t.Run("commands", r.commandsSelect)
	t.Run("manifests", r.manifestsSelect)
	t.Run("labels that pages name", r.labelsAreThere)
	t.Run("backup", r.backupHasNoToken)
	t.Run("none", r.selectNone)
}

// settle creates at least one object of everything that some selector is for.
func (r *reader) settle(t *testing.T) {
	t.Helper()
	r.run(t, `
		kubectl apply --server-side -k '`+install.Kustomization(t, []string{"default"}, "console")+`'
		kubectl create namespace initech
		kubectl label namespace initech nexuscommerce.io/tenant=initech
		kubectl label apikey -n warehouse storefront app=shop
		kubectl patch apikey -n warehouse catalog-reader --type=merge -p '{"spec":{"state":"Suspended"}}'
		kubectl patch apikey -n warehouse catalog-sync --type=merge -p '{"spec":{"state":"Revoked"}}'
		kubectl apply -f - <<-EOF
		apiVersion: keys.nexuscommerce.io/v1alpha1
		kind: AccessPolicy
		metadata: {name: hostless}
		spec:
		  scopes: [{name: "products:read", description: Read}]
		  rules: [{paths: [{value: /}], scopes: ["products:read"]}]
		EOF`)
	var deployments appsv1.DeploymentList
	if err := r.Client.List(t.Context(), &deployments); err != nil {
		t.Fatal(err)
	}
	for j := range deployments.Items { // Nothing here makes pods of them.
		d := &deployments.Items[j]
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: d.Name,
			Labels: d.Spec.Template.Labels}, Spec: d.Spec.Template.Spec}
		if err := r.Client.Create(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
	}
	program.WaitUntil(t, timeout, "an event about an AccessPolicy", func() error {
		return r.selects(t, "events", "-A", "--field-selector=involvedObject.kind=AccessPolicy")
	})
}

// selects says that nothing is selected.
func (r *reader) selects(t *testing.T, resource string, args ...string) error {
	t.Helper()
	out, err := r.RunKubectl(t.Context(),
		append([]string{"get", resource, "--ignore-not-found", "-o", "name"}, args...)...)
	if err != nil {
		return err
	}
	if strings.TrimSpace(out) == "" {
		return fmt.Errorf("kubectl get %s %s: nothing", resource, strings.Join(args, " "))
	}
	return nil
}

// selection is what a command selects.
type selection struct {
	where, resource string
	args            []string
	// none is set where the page says that it selects nothing.
	none bool
}

var (
	continued    = regexp.MustCompile(`\\\n\s*`)
	selectorFlag = regexp.MustCompile(`(?:^|\s)(-l|--selector|--field-selector)[ =]("[^"]+"|'[^']+'|[^\s"';|)]+)`)
	resourceName = regexp.MustCompile(`\b(apikeys?|nxkey|pods?|secrets?|events?|tenants?|accesspolic(?:y|ies)|` +
		`namespaces?|configmaps?|deployments?)\b`)
	inNamespace = regexp.MustCompile(`\s-n[ =]?(\S+)`)
)

// selections finds the selectors of kubectl's commands, and of the plugin's, in a text.
func selections(where, text string) (all []selection) {
	for line := range strings.SplitSeq(continued.ReplaceAllString(text, " "), "\n") {
		flags := selectorFlag.FindAllStringSubmatch(line, -1)
		_, command, found := strings.Cut(line, "kubectl ")
		if len(flags) == 0 || !found || strings.HasPrefix(line, "| `") {
			continue
		}
		s := selection{where: where + ": " + strings.TrimSpace(line), none: strings.HasSuffix(line, "# none")}
		if s.resource = "apikeys"; !strings.Contains(line, "kubectl apikey ") {
			s.resource = resourceName.FindString(command)
		}
		for _, flag := range flags {
			s.args = append(s.args, flag[1]+"="+strings.Trim(flag[2], `"'`))
		}
		if namespace := inNamespace.FindStringSubmatch(line); namespace != nil {
			s.args = append(s.args, "--namespace="+namespace[1])
		} else {
			s.args = append(s.args, "-A")
		}
		all = append(all, s)
	}
	return all
}

// documented returns every selection of the pages' blocks and of the scripts.
func documented(t *testing.T) (all []selection) {
	t.Helper()
	for _, p := range pages.Run(t) {
		for _, b := range p.Blocks {
			if b.Language != "test" && b.Language != "yaml" {
				all = append(all, selections(b.String(), b.Text)...)
			}
		}
	}
	others := slices.Concat(pages.Glob(t, "docs/examples/*.sh"), pages.Glob(t, "config/*/*.md"),
		pages.Glob(t, "docs/guides/*.md"))
	for _, name := range others {
		content, err := os.ReadFile(filepath.Join(controlplane.Root(), name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, selections(name, string(content))...)
	}
	if len(all) < 15 {
		t.Errorf("only %d selectors in commands", len(all))
	}
	return all
}

// expand puts values in place of the shell variables that pages use in selectors.
func (r *reader) expand(t *testing.T, args []string) (expanded []string) {
	t.Helper()
	var key keysv1alpha1.ApiKey
	if err := r.Client.Get(t.Context(), client.ObjectKey{Namespace: "warehouse", Name: "storefront"}, &key); err != nil {
		t.Fatal(err)
	}
	for _, arg := range args {
		expanded = append(expanded, os.Expand(arg, func(name string) string {
			switch name {
			case "ID":
				return key.Status.TenantID
			case "PREFIX":
				return key.Status.Prefix
			}
			t.Errorf("%s: what is $%s?", arg, name)
			return ""
		}))
	}
	return expanded
}

func (r *reader) commandsSelect(t *testing.T) {
	for _, s := range documented(t) {
		if s.resource == "" {
			t.Errorf("%s: what does it select?", s.where)
			continue
		}
		if err := r.selects(t, s.resource, r.expand(t, s.args)...); err != nil && !s.none {
			t.Errorf("%s: %v", s.where, err)
		}
	}
}

// selectNone checks the selectors that select nothing, according to their pages, once the steps before are done.
func (r *reader) selectNone(t *testing.T) {
	r.run(t, `
		kubectl get apikeys -A \
			-o jsonpath='{range .items[?(@.status.tenantID)]}{.metadata.namespace} {.metadata.name}{"\n"}{end}' |
		while read -r namespace name; do
			kubectl patch apikey -n "$namespace" "$name" --type=merge -p '{"spec":{"state":"Revoked"}}'
		done`)
	none := 0
	for _, s := range documented(t) {
		if !s.none {
			continue
		}
		none++
		if err := r.selects(t, s.resource, r.expand(t, s.args)...); err == nil {
			t.Errorf("%s: it selects something", s.where)
		}
	}
	if none == 0 {
		t.Error("no page says that something selects none")
	}
}

// manifest has the fields of any kind that hold selectors.
type manifest struct {
	Kind     string
	Metadata struct{ Name string }
	Spec     struct {
		Selector          any // a map of labels in a Service, a LabelSelector elsewhere
		PodSelector       *metav1.LabelSelector
		NamespaceSelector *metav1.LabelSelector
		Ingress           []struct{ From []peer }
		Template          struct {
			Spec struct {
				TopologySpreadConstraints []struct{ LabelSelector *metav1.LabelSelector }
			}
		}
	}
}

type peer struct{ PodSelector, NamespaceSelector *metav1.LabelSelector }

// selected returns the selectors of a manifest, by the resource that they select.
func (m *manifest) selected(t *testing.T) map[string][]*metav1.LabelSelector {
	t.Helper()
	all := map[string][]*metav1.LabelSelector{}
	add := func(resource string, selectors ...*metav1.LabelSelector) {
		all[resource] = append(all[resource], selectors...)
	}
	add("pods", m.Spec.PodSelector)
	add("namespaces", m.Spec.NamespaceSelector)
	for _, rule := range m.Spec.Ingress {
		for _, p := range rule.From {
			add("pods", p.PodSelector)
			add("namespaces", p.NamespaceSelector)
		}
	}
	for _, constraint := range m.Spec.Template.Spec.TopologySpreadConstraints {
		add("pods", constraint.LabelSelector)
	}
	content, err := yaml.Marshal(m.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	selector := &metav1.LabelSelector{}
	switch m.Kind {
	case "Service":
		err = yaml.Unmarshal(content, &selector.MatchLabels)
		add("pods", selector)
	case "ServiceMonitor":
		err = yaml.Unmarshal(content, selector)
		add("services", selector)
	case "Deployment", "PodDisruptionBudget":
		err = yaml.Unmarshal(content, selector)
		add("pods", selector)
	}
	if err != nil {
		t.Errorf("%s %s: %v", m.Kind, m.Metadata.Name, err)
	}
	return all
}

func (r *reader) manifestsSelect(t *testing.T) {
	checked := 0
	for _, folder := range []string{"config", "docs/examples"} {
		root := filepath.Join(controlplane.Root(), folder)
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if entry != nil && entry.IsDir() && (entry.Name() == "crd" || entry.Name() == "chart") {
				return filepath.SkipDir // The chart's templates are no YAML; what it renders is made of the manifests.
			}
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for text := range strings.SplitSeq(string(content), "\n---\n") {
				var m manifest
				if err := yaml.Unmarshal([]byte(text), &m); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
				for resource, selectors := range m.selected(t) {
					for _, selector := range selectors {
						checked += r.manifestSelects(t, path, resource, selector)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if checked < 20 {
		t.Errorf("only %d selectors in manifests", checked)
	}
}

// manifestSelects checks one selector, and returns how many that is: none where the labels are the reader's to set.
func (r *reader) manifestSelects(t *testing.T, path, resource string, selector *metav1.LabelSelector) int {
	t.Helper()
	if selector == nil || len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		return 0
	}
	for name := range selector.MatchLabels {
		if labelledByReaders[name] != "" {
			return 0
		}
	}
	for _, e := range selector.MatchExpressions {
		if labelledByReaders[e.Key] != "" {
			return 0
		}
	}
	text := metav1.FormatLabelSelector(selector)
	if err := r.selects(t, resource, "-A", "-l", text); err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return 1
}

// namedLabel finds a label with its value, as prose, manifests and commands have it.
var namedLabel = regexp.MustCompile(`(app\.kubernetes\.io/[a-z-]+|` +
	`keys\.nexuscommerce\.io/(?:uid|root|canary|certificate|console|proxies)|` +
	`nexuscommerce\.io/tenant)(?:=|: ?)["']?([A-Za-z0-9][\w.-]*)`)

// labelsAreThere checks that an object has each label that a page names with its value.
func (r *reader) labelsAreThere(t *testing.T) {
	have := map[string]bool{}
	const labelled = "namespaces,secrets,configmaps," +
		"services,deployments,pods,serviceaccounts,apikeys,tenants,accesspolicies"
	out := install.Kubectl(t, r.ControlPlane, "get", labelled, "-A",
		"-o", `jsonpath={range .items[*]}{.metadata.labels}{"\n"}{end}`)
	for line := range strings.Lines(out) {
		set := labels.Set{}
		if err := yaml.Unmarshal([]byte(line), &set); err != nil {
			t.Fatal(err)
		}
		for name, value := range set {
			have[name+"="+value] = true
			have[name] = true
		}
	}
	checked := 0
	all := slices.Concat([]string{"README.md"}, pages.Glob(t, "docs/*.md"), pages.Glob(t, "docs/guides/*.md"),
		pages.Glob(t, "config/*/*.md"))
	for _, name := range all {
		content, err := os.ReadFile(filepath.Join(controlplane.Root(), name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range namedLabel.FindAllStringSubmatch(string(content), -1) {
			label, value := m[1], m[2]
			if labelledByReaders[label] != "" {
				continue
			}
			checked++
			// Root keys are numbered, and a page may be about the next.
			if !have[label+"="+value] && (label != keysv1alpha1.RootLabel || !have[label]) {
				t.Errorf("%s: nothing has the label %s=%s", name, label, value)
			}
		}
	}
	if checked < 10 {
		t.Errorf("only %d labels in pages", checked)
	}
}

// backupHasNoToken checks that what docs/restore.md says to back up has no token, and what it says to leave out has
// them all.
func (r *reader) backupHasNoToken(t *testing.T) {
	withTokens := map[string]bool{}
	for _, b := range pages.Read(t, "docs/restore.md").Blocks {
		for _, s := range selections(b.String(), b.Text) {
			if s.resource != "secrets" {
				continue
			}
			var secrets corev1.SecretList
			selector, err := labels.Parse(strings.TrimPrefix(s.args[0], "-l="))
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Client.List(t.Context(), &secrets, client.MatchingLabelsSelector{Selector: selector}); err != nil {
				t.Fatal(err)
			}
			left := strings.Contains(s.where, "everything else")
			for j := range secrets.Items {
				content, err := yaml.Marshal(&secrets.Items[j])
				if err != nil {
					t.Fatal(err)
				}
				for _, data := range secrets.Items[j].Data {
					content = append(content, data...)
				}
				has := strings.Contains(string(content), "nxc_live_") || strings.Contains(string(content), "nxc_test_")
				if has && left {
					t.Errorf("%s: %s/%s has a token", s.where, secrets.Items[j].Namespace, secrets.Items[j].Name)
				}
				withTokens[secrets.Items[j].Name] = has
			}
		}
	}
	var keys keysv1alpha1.ApiKeyList
	if err := r.Client.List(t.Context(), &keys); err != nil {
		t.Fatal(err)
	}
	published := 0
	for j := range keys.Items {
		if name := keys.Items[j].Status.SecretName; name != "" && keys.Items[j].Spec.State != keysv1alpha1.ApiKeyRevoked {
			published++
			if !withTokens[name] {
				t.Errorf("docs/restore.md leaves the token of %s/%s out of sight", keys.Items[j].Namespace, keys.Items[j].Name)
			}
		}
	}
	if published < 3 {
		t.Errorf("only %d keys with Secrets", published)
	}
}
