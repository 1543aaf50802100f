package helm_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// everything are values with which each optional part of the chart is rendered.
const everything = "--set=tls.mode=cert-manager,monitoring.enabled=true,console.enabled=true," +
	"console.certificate.enabled=true," +
	"console.ingress.enabled=true,console.ingress.host=keys.example.com,console.route.enabled=true"

// ofPrograms are values that each of the programs has, and what each renders, with a digit of the program's in place of
// the #.
var ofPrograms = map[string]string{
	"podLabels.team=a#":                              "team: a#",
	"podAnnotations.note=b#":                         "note: b#",
	"serviceAccount.annotations.role=arn#":           "role: arn#",
	"podDisruptionBudget.maxUnavailable=4#%":         "maxUnavailable: 4#%",
	"extraEnv[0].name=GOGC#":                         "- name: GOGC#",
	"extraVolumes[0].name=audit#":                    "- name: audit#",
	"extraVolumeMounts[0].mountPath=/audit#":         "mountPath: /audit#",
	"topologySpreadConstraints[0].topologyKey=rack#": "topologyKey: rack#",
	"podSecurityContext.fsGroup=100077000#":          "fsGroup: 100077000#",
	"securityContext.runAsUser=100077000#":           "runAsUser: 100077000#",
	"nodeSelector.disk=ssd#":                         "disk: ssd#",
	"tolerations[0].key=dedicated#":                  "key: dedicated#",
	"affinity.nodeAffinity.x=a#":                     "x: a#",
	"priorityClassName=high#":                        "priorityClassName: high#",
	"extraArgs={--flag-#}":                           `- "--flag-#"`,
	"replicas=1#":                                    "replicas: 1#",
	"resources.requests.cpu=77#m":                    "cpu: 77#m",
}

// others are the other values, and what each renders.
var others = map[string]string{
	"global.imageRegistry=mirror.example:5000":       "image: mirror.example:5000/nexuscommerce/apikey-operator:v1.2.3",
	"commonLabels.owner=platform":                    "owner: platform",
	"log.level=debug":                                "--zap-log-level=debug",
	"log.format=console":                             "--zap-encoder=console",
	"controller.leaderElection.leaseDuration=30s":    "--leader-elect-lease-duration=30s",
	"controller.leaderElection.renewDeadline=20s":    "--leader-elect-renew-deadline=20s",
	"controller.leaderElection.retryPeriod=5s":       "--leader-elect-retry-period=5s",
	"console.ingress.className=nginx":                "ingressClassName: nginx",
	"console.ingress.annotations.protocol=HTTPS":     "protocol: HTTPS",
	"console.ingress.host=pages.example.com":         `- host: "pages.example.com"`,
	"console.ingress.tls.secretName=browsers":        "- secretName: browsers",
	"console.route.host=routed.example.com":          `host: "routed.example.com"`,
	"console.route.annotations.timeout=1h":           "timeout: 1h",
	"console.route.termination=reencrypt":            "termination: reencrypt",
	"console.route.destinationCACertificate=pem":     `destinationCACertificate: "pem"`,
	"extraObjects[0].kind=Extra":                     "kind: Extra",
	"image.registry=mirror.example":                  "image: mirror.example/nexuscommerce/apikey-operator:v1.2.3",
	"image.repository=team/keys":                     "image: ghcr.io/team/keys:v1.2.3",
	"image.tag=v9":                                   "image: ghcr.io/nexuscommerce/apikey-operator:v9",
	"image.digest=sha256:" + zeroes:                  "apikey-operator@sha256:0000",
	"image.pullPolicy=Always":                        "imagePullPolicy: Always",
	"imagePullSecrets[0].name=pull":                  "- name: pull",
	"tls.issuerRef.group=awspca.example":             "group: awspca.example",
	"tls.issuerRef.kind=AWSPCAClusterIssuer":         "kind: AWSPCAClusterIssuer",
	"tls.issuerRef.name=mine":                        "name: mine",
	"tls.duration=2160h":                             "duration: 2160h",
	"controller.namespaces={warehouse}":              "--namespaces=warehouse",
	"verifier.service.annotations.lb=internal":       "lb: internal",
	"verifier.service.type=LoadBalancer":             "type: LoadBalancer",
	"console.service.annotations.lb=internal":        "lb: internal",
	"console.service.type=NodePort":                  "type: NodePort",
	"console.tls.secretName=my-tls":                  "secretName: my-tls",
	"console.session.secretName=my-session":          "secretName: my-session",
	"monitoring.labels.release=kps":                  "release: kps",
	"monitoring.interval=15s":                        "interval: 15s",
	"monitoring.runbookURL=https://wiki.example.com": "runbook_url: https://wiki.example.com#apikeyexpiringsoon",
	"monitoring.serviceAccount.name=scraper":         "name: scraper",
	"monitoring.serviceAccount.namespace=observe":    "namespace: observe",
	"networkPolicy.proxies={traefik}":                "apikey-verifier-from-traefik",
}

const zeroes = "0000000000000000000000000000000000000000000000000000000000000000"

// elsewhere are values that other tests are about.
var elsewhere = []string{
	"tls.mode", "metrics.secure", "monitoring.enabled", "console.enabled", "networkPolicy.enabled",
	"crds.enabled", "crds.keep", "console.certificate.enabled", "console.ingress.enabled", "console.route.enabled",
	"verifier.autoscaling.", "console.autoscaling.",
}

// leaves returns the paths of values.
func leaves(values map[string]any, prefix string) []string {
	var all []string
	for name, value := range values {
		below, ok := value.(map[string]any)
		if ok && len(below) > 0 && name != "resources" {
			all = append(all, leaves(below, prefix+name+".")...)
			continue
		}
		all = append(all, prefix+name)
	}
	return all
}

// TestEachValueIsRendered checks that each value of values.yaml changes what is rendered, and has its row in the
// README.
func TestEachValueIsRendered(t *testing.T) {
	folder := chart(t, "v1.2.3")
	all := maps.Clone(others)
	for i, name := range []string{"controller", "verifier", "console"} {
		for value, want := range ofPrograms {
			digit := strconv.Itoa(i + 2)
			all[name+"."+strings.ReplaceAll(value, "#", digit)] = strings.ReplaceAll(want, "#", digit)
		}
	}
	before := run(t, helm(t), "template", "any", folder, everything)
	rendered := func(values map[string]string) {
		args := []string{"template", "any", folder, everything}
		for value := range values {
			args = append(args, "--set="+value)
		}
		after := run(t, helm(t), args...)
		for value, want := range values {
			if strings.Count(after, want) <= strings.Count(before, want) {
				t.Errorf("%s does not render %q", value, want)
			}
		}
	}
	together := maps.Clone(all) // Values of the image by themselves: one takes another's place.
	for value, want := range all {
		if strings.HasPrefix(value, "image.") || strings.HasPrefix(value, "global.") {
			rendered(map[string]string{value: want})
			delete(together, value)
		}
	}
	rendered(together)
	var values map[string]any
	if err := yaml.Unmarshal([]byte(read(t, folder, "values.yaml")), &values); err != nil {
		t.Fatal(err)
	}
	readme := read(t, folder, "README.md")
	for _, path := range leaves(values, "") {
		if !strings.Contains(readme, "| `"+path+"` |") {
			t.Errorf("%s has no row in the README", path)
		}
		tested := strings.HasSuffix(path, "podDisruptionBudget.enabled") ||
			slices.ContainsFunc(elsewhere, func(other string) bool {
				return path == other || strings.HasSuffix(other, ".") && strings.HasPrefix(path, other)
			})
		for value := range all {
			rest, ok := strings.CutPrefix(value, path)
			tested = tested || ok && strings.ContainsAny(rest[:1], "=.[")
		}
		if !tested {
			t.Errorf("%s has no test", path)
		}
	}
}

func read(t *testing.T, folder, file string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(folder, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestWhatValuesTakeAway checks values that leave something out.
func TestWhatValuesTakeAway(t *testing.T) {
	folder := chart(t, "v1.2.3")
	for _, name := range []string{"controller", "verifier", "console"} {
		for value, object := range map[string]string{
			"replicas=null": "  replicas: ", "podDisruptionBudget.enabled=false": "kind: PodDisruptionBudget",
		} {
			out := run(t, helm(t), "template", "any", folder, everything, "--set="+name+"."+value)
			if n := strings.Count(out, object); n != 2 {
				t.Errorf("%s.%s leaves %d of 3", name, value, n)
			}
		}
	}
}

// TestOptionalObjects checks which objects are there only if a value asks for them, and what they say.
func TestOptionalObjects(t *testing.T) {
	folder := chart(t, "v1.2.3")
	const hosts = "console.ingress.host=keys.example.com,console.route.host=routes.example.com"
	for value, want := range map[string]string{
		"console.ingress.enabled=true":      "Ingress default/apikey-console",
		"console.route.enabled=true":        "Route default/apikey-console",
		"console.certificate.enabled=true":  "Certificate default/apikey-console",
		"console.autoscaling.enabled=true":  "HorizontalPodAutoscaler default/apikey-console",
		"verifier.autoscaling.enabled=true": "HorizontalPodAutoscaler default/apikey-verifier",
	} {
		ofVerifier := strings.HasSuffix(want, "/apikey-verifier")
		set := []string{"template", "any", folder, "--set=tls.mode=cert-manager," + hosts}
		before := objects(t, run(t, helm(t), append(set, "--set=console.enabled=true")...))
		after := objects(t, run(t, helm(t), append(set, "--set=console.enabled=true,"+value)...))
		off := objects(t, run(t, helm(t), append(set, "--set=console.enabled=false,"+value)...))
		if before[want] != nil || after[want] == nil || (off[want] != nil) != ofVerifier || len(after) != len(before)+1 {
			t.Errorf("%s: %s is not what it adds", value, want)
		}
		if after[want] != nil && !recommended(after[want]) {
			t.Errorf("%s lacks recommended labels", want)
		}
	}
	out := run(t, helm(t), "template", "any", folder, "--set=tls.mode=cert-manager,console.enabled=true,"+hosts,
		"--set=console.ingress.enabled=true,console.route.enabled=true,console.certificate.enabled=true")
	certificate := objects(t, out)["Certificate default/apikey-console"]
	names, _, _ := unstructured.NestedStringSlice(certificate, "spec", "dnsNames")
	if want := []string{
		"apikey-console.default.svc", "apikey-console.default.svc.cluster.local", "keys.example.com", "routes.example.com",
	}; !slices.Equal(names, want) {
		t.Errorf("the certificate is for %v", names)
	}
	for _, contradiction := range []string{
		"console.ingress.enabled=true", "console.certificate.enabled=true", "console.route.termination=edge",
	} {
		if out, err := try(t, helm(t), "template", "any", folder, "--set=console.enabled=true,"+contradiction); err == nil {
			t.Errorf("%s alone is accepted: %.200s", contradiction, out)
		}
	}
}

// TestAutoscaling checks that a HorizontalPodAutoscaler has its values, and that the Deployment leaves it the replicas.
func TestAutoscaling(t *testing.T) {
	g, folder := NewWithT(t), chart(t, "v1.2.3")
	for _, program := range []string{"verifier", "console"} {
		values := program + ".autoscaling."
		all := objects(t, run(t, helm(t), "template", "any", folder, "--set=console.enabled=true",
			"--set="+values+"enabled=true,"+values+"minReplicas=4,"+values+"maxReplicas=12,"+
				values+"targetCPUUtilizationPercentage=55"))
		g.Expect(all["Deployment default/apikey-"+program]["spec"]).NotTo(HaveKey("replicas"))
		g.Expect(all["HorizontalPodAutoscaler default/apikey-"+program]["spec"]).To(Equal(map[string]any{
			"scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "apikey-" + program},
			"minReplicas":    4.0, "maxReplicas": 12.0,
			"metrics": []any{map[string]any{"type": "Resource", "resource": map[string]any{
				"name": "cpu", "target": map[string]any{"type": "Utilization", "averageUtilization": 55.0},
			}}},
		}))
	}
}

// TestCustomResourceDefinitions checks the values about them.
func TestCustomResourceDefinitions(t *testing.T) {
	folder := chart(t, "v1.2.3")
	const keep = "helm.sh/resource-policy: keep"
	for value, want := range map[string]struct{ kinds, kept int }{
		"crds.keep=true": {3, 3}, "crds.keep=false": {3, 0}, "crds.enabled=false": {0, 0},
	} {
		out := run(t, helm(t), "template", "any", folder, "--set="+value)
		kinds, kept := strings.Count(out, "kind: CustomResourceDefinition"), strings.Count(out, keep)
		if kinds != want.kinds || kept != want.kept {
			t.Errorf("%s: %d kinds, of which %d are kept", value, kinds, kept)
		}
	}
}

// TestNotes checks what Helm says after an installation.
func TestNotes(t *testing.T) {
	folder := chart(t, "v1.2.3")
	for values, want := range map[string]string{
		"crds.keep=true":                  "Uninstalling leaves the kinds",
		"crds.keep=false":                 "Uninstalling deletes the kinds",
		"crds.enabled=false":              "has not installed the kinds",
		"tls.mode=none":                   "plain text",
		"verifier.replicas=1":             "helm test -n default any",
		"networkPolicy.enabled=true":      "keys.nexuscommerce.io/proxies=true",
		"networkPolicy.proxies={traefik}": "in the namespaces of their own installations: traefik",
		"networkPolicy.enabled=false":     "reaches the verifier, because networkPolicy.enabled is false",
		"console.enabled=true":            "create secret generic -n default apikey-console-session",
		"console.enabled=true,console.ingress.enabled=true,console.ingress.host=a.example": "https://a.example/",
	} {
		out := run(t, helm(t), "install", "any", folder, "--dry-run=client", "--set="+values)
		_, notes, _ := strings.Cut(out, "NOTES:")
		if !strings.Contains(notes, want) {
			t.Errorf("%s: the notes lack %q:\n%s", values, want, notes)
		}
	}
}

// TestMetadata checks what Artifact Hub shows of the chart against what the chart has.
func TestMetadata(t *testing.T) {
	g, folder := NewWithT(t), chart(t, "v1.2.3")
	var file struct {
		Version, AppVersion, Home, KubeVersion string
		Sources                                []string
		Maintainers                            []struct{ Name, URL string }
		Annotations                            map[string]string
	}
	g.Expect(yaml.Unmarshal([]byte(read(t, folder, "Chart.yaml")), &file)).To(Succeed())
	g.Expect(file.Version).To(Equal("1.2.3"))
	g.Expect(file.AppVersion).To(Equal("v1.2.3"))
	g.Expect(file.Home).NotTo(BeEmpty())
	g.Expect(file.Sources).NotTo(BeEmpty())
	g.Expect(file.Maintainers).NotTo(BeEmpty())
	g.Expect(file.Annotations).To(HaveKeyWithValue("artifacthub.io/license", "Apache-2.0"))
	g.Expect(file.Annotations).To(HaveKeyWithValue("artifacthub.io/operator", "true"))
	var shown []struct{ Kind, Version, Name string }
	g.Expect(yaml.Unmarshal([]byte(file.Annotations["artifacthub.io/crds"]), &shown)).To(Succeed())
	out := objects(t, run(t, helm(t), "template", "any", folder, "--show-only=templates/crds.yaml"))
	g.Expect(shown).To(HaveLen(len(out)))
	for _, kind := range shown {
		g.Expect(out).To(HaveKey("CustomResourceDefinition /" + kind.Name))
		versions, _, _ := unstructured.NestedSlice(out["CustomResourceDefinition /"+kind.Name], "spec", "versions")
		g.Expect(versions[0]).To(HaveKeyWithValue("name", kind.Version))
		name, _, _ := unstructured.NestedString(out["CustomResourceDefinition /"+kind.Name], "spec", "names", "kind")
		g.Expect(name).To(Equal(kind.Kind))
	}
}

// TestOldClusters checks that Helm refuses Kubernetes below the floor.
func TestOldClusters(t *testing.T) {
	folder := chart(t, "v1.2.3")
	if out, err := try(t, helm(t), "template", "any", folder, "--kube-version=1.33.0"); err == nil {
		t.Errorf("1.33 is accepted: %.200s", out)
	}
	run(t, helm(t), "template", "any", folder, "--kube-version=1.34.0")
}
