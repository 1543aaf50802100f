// Package helm_test compares the chart that make dist writes with config/, object by object, with Helm itself, and
// installs the chart on a real API server.
package helm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// run runs a program at the top of the repository. It must succeed.
func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := try(t, program, args...)
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
	return out
}

func try(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Dir = controlplane.Root()
	home := t.TempDir() // Helm caches what it has read.
	command.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	out, err := command.CombinedOutput()
	return string(out), err
}

// helm returns Helm's path.
func helm(t *testing.T) string {
	t.Helper()
	return need.Program(t, "helm")
}

func kubectl() string { return filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl") }

// chart writes the chart and returns its folder.
func chart(t *testing.T, version string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "apikey-operator")
	run(t, "go", "run", "./hack/tools/chart", "--kubectl", kubectl(), "--version", version, "--out", folder)
	return folder
}

// objects returns the objects in manifests, by kind, namespace and name.
func objects(t *testing.T, manifests string) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for manifest := range strings.SplitSeq("\n"+manifests, "\n---\n") {
		var content map[string]any
		if err := yaml.Unmarshal([]byte(manifest), &content); err != nil {
			t.Fatalf("%v\n%s", err, manifest)
		}
		if content == nil {
			continue
		}
		object := unstructured.Unstructured{Object: content}
		key := object.GetKind() + " " + object.GetNamespace() + "/" + object.GetName()
		if all[key] != nil {
			t.Errorf("%s is there twice", key)
		}
		all[key] = content
	}
	return all
}

// settings has values of the chart, and the components that they stand for.
var settings = map[string]struct {
	values, components []string
}{
	"the defaults": {},
	"certificates of one's own": {
		[]string{"tls.mode=secrets"}, []string{"tls"},
	},
	"cert-manager": {
		[]string{"tls.mode=cert-manager"}, []string{"cert-manager"},
	},
	"plain text": {
		[]string{"tls.mode=none"}, []string{"plain-text"},
	},
	"monitoring in plain text": {
		[]string{"tls.mode=none", "monitoring.enabled=true"}, []string{"monitoring", "plain-text"},
	},
	"monitoring with certificates of one's own": {
		[]string{"tls.mode=secrets", "monitoring.enabled=true"}, []string{"monitoring", "tls"},
	},
	"monitoring": {
		[]string{"monitoring.enabled=true"}, []string{"monitoring"},
	},
	"monitoring with cert-manager": {
		[]string{"tls.mode=cert-manager", "monitoring.enabled=true"}, []string{"monitoring", "cert-manager"},
	},
	"chosen namespaces": {
		[]string{"controller.namespaces={warehouse}"}, []string{"namespaces"},
	},
	"the console": {
		[]string{"console.enabled=true"}, []string{"console"},
	},
	"no network policies": {
		[]string{"networkPolicy.enabled=false"}, []string{"network-policies/none"},
	},
	"the console without network policies": {
		[]string{"console.enabled=true", "networkPolicy.enabled=false"}, []string{"console", "network-policies/none"},
	},
	"a network policy for each proxy": {
		[]string{"networkPolicy.proxies={ingress-nginx,traefik,istio,contour,apisix,envoy-gateway,haproxy-ingress," +
			"nginx-gateway-fabric,proxies}"},
		[]string{
			"network-policies/ingress-nginx", "network-policies/traefik", "network-policies/istio", "network-policies/contour",
			"network-policies/apisix", "network-policies/envoy-gateway", "network-policies/haproxy-ingress",
			"network-policies/nginx-gateway-fabric",
		},
	},
}

func flags(values []string) []string {
	all := []string{"--set=image.registry=,image.repository=apikey-operator,image.tag=dev"}
	for _, value := range values {
		all = append(all, "--set="+value)
	}
	return all
}

// TestIsWhatConfigIs checks that Helm renders what kustomize builds, except for the namespace, which Helm creates, and
// the canary, which the controller creates.
func TestIsWhatConfigIs(t *testing.T) {
	folder := chart(t, "v1.2.3")
	for name, setting := range settings {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			run(t, helm(t), append([]string{"lint", "--strict", folder}, flags(setting.values)...)...)
			got := objects(t,
				run(t, helm(t), append([]string{"template", "any", folder, "--namespace=apikey-system", "--no-hooks"},
					flags(setting.values)...)...))
			want := objects(t,
				run(t, kubectl(), "kustomize", install.Kustomization(t, []string{"default"}, setting.components...)))
			delete(want, "Namespace /apikey-system")
			delete(want, "ApiKey apikey-system/"+keysv1alpha1.CanaryName)
			g.Expect(len(want)).To(BeNumerically(">", 30))
			for key, object := range want {
				g.Expect(recommended(got[key])).To(BeTrue(), key+" has the recommended labels")
				g.Expect(sorted(got[key])).To(Equal(sorted(object)), key)
				delete(got, key)
			}
			g.Expect(got).To(BeEmpty(), "only the chart has these")
		})
	}
}

// sorted returns an object with its programs' flags in order: the position of a flag that a value adds does not matter.
func sorted(object map[string]any) map[string]any {
	containers, _, _ := unstructured.NestedSlice(object, "spec", "template", "spec", "containers")
	for _, container := range containers {
		args, _, _ := unstructured.NestedStringSlice(container.(map[string]any), "args")
		slices.Sort(args)
		_ = unstructured.SetNestedStringSlice(container.(map[string]any), args, "args")
	}
	if containers != nil {
		_ = unstructured.SetNestedSlice(object, containers, "spec", "template", "spec", "containers")
	}
	labels, _, _ := unstructured.NestedStringMap(object, "metadata", "labels")
	unstructured.RemoveNestedField(object, "metadata", "labels")
	for _, name := range chartsLabels { // config/ gives not every object all of these.
		delete(labels, name)
	}
	if len(labels) > 0 {
		_ = unstructured.SetNestedStringMap(object, labels, "metadata", "labels")
	}
	unstructured.RemoveNestedField(object, "metadata", "annotations", "helm.sh/resource-policy")
	return object
}

// TestValues checks that values have an effect on what is rendered, and that an unknown value is refused.
func TestValues(t *testing.T) {
	folder := chart(t, "v1.2.3")
	for value, want := range map[string]string{
		"image.tag=v9": "image: ghcr.io/nexuscommerce/apikey-operator:v9",
		"image.repository=registry.example.com/a":           "image: registry.example.com/a:v1.2.3",
		"image.digest=sha256:" + strings.Repeat("ab", 32):   "image: ghcr.io/nexuscommerce/apikey-operator@sha256:abab",
		"image.pullPolicy=Always":                           "imagePullPolicy: Always",
		"imagePullSecrets[0].name=pull":                     "imagePullSecrets:\n        - name: pull",
		"verifier.replicas=7":                               "replicas: 7",
		"controller.replicas=1":                             "replicas: 1",
		"verifier.resources.requests.cpu=3":                 "cpu: 3",
		"verifier.extraArgs={--trusted-proxies=10.0.0.0/8}": `- "--trusted-proxies=10.0.0.0/8"`,
		"controller.extraArgs={--expiry-warnings=1h}":       `- "--expiry-warnings=1h"`,
		"verifier.nodeSelector.disk=ssd":                    "nodeSelector:\n        disk: ssd",
		"controller.priorityClassName=high":                 "priorityClassName: high",
		"verifier.podAnnotations.a=b": "a: b\n        kubectl.kubernetes.io/default-container: " +
			"verifier",
		"tls.issuerRef.name=mine":                           "name: mine",
		"monitoring.serviceAccount.namespace=observability": "namespace: observability",
		"console.session.secretName=mine":                   "secretName: mine",
		"console.tls.secretName=my-tls":                     "secretName: my-tls",
		"console.extraArgs={--authorization-header}":        `- "--authorization-header"`,
	} {
		out := run(t, helm(t), "template", "any", folder, "--set="+value,
			"--set=tls.mode=cert-manager,monitoring.enabled=true,console.enabled=true")
		if !strings.Contains(out, want) &&
			!strings.Contains(out, "kubectl.kubernetes.io/default-container: verifier\n        "+strings.SplitN(want, "\n",
				2)[0]) {
			t.Errorf("%s: no %q", value, want)
		}
	}
	if out := run(t, helm(t), "template", "any", folder,
		"--set=metrics.secure=false"); regexp.MustCompile("metrics-secure|name: apikey-metrics-auth").MatchString(out) {
		t.Error("metrics.secure=false leaves something behind")
	}
	for _, typo := range []string{
		"verifer.replicas=3", "verifier.replica=3", "networkPolicy.proxies={nginx}", "image.digest=latest", "tls.mode=off",
		"verifier.tls.secretName=mine", "certManager.enabled=true", "controller.extraArgs={expiry-warnings}",
	} {
		if out, err := try(t, helm(t), "template", "any", folder, "--set="+typo); err == nil {
			t.Errorf("%s is accepted: %.100s", typo, out)
		}
	}
}

// chartsLabels are those that the chart gives every object.
var chartsLabels = []string{
	"helm.sh/chart", "app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by",
	"app.kubernetes.io/name", "app.kubernetes.io/part-of",
}

// recommended reports whether an object has them.
func recommended(object map[string]any) bool {
	labels, _, _ := unstructured.NestedStringMap(object, "metadata", "labels")
	return !slices.ContainsFunc(chartsLabels, func(name string) bool { return labels[name] == "" })
}
