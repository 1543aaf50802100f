package manifests_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nexuscommerce/apikey-operator/controllers/certificates"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// foreign are the API groups of kinds that other projects bring.
var foreign = []string{"cert-manager.io", "monitoring.coreos.com"}

// texts are the manifests of installations, by their components. Most specs look at all components, and building takes
// longer than what they look for.
var texts = map[string]string{}

// build returns the objects of an installation with some components. They are the caller's to change.
func build(ctx SpecContext, chosen ...string) []*unstructured.Unstructured {
	GinkgoHelper()
	name := strings.Join(chosen, " ")
	if texts[name] == "" {
		texts[name] = kubectl(ctx, "kustomize", install.Kustomization(GinkgoTB(), []string{"default"}, chosen...))
	}
	var objects []*unstructured.Unstructured
	for manifest := range strings.SplitSeq(texts[name], "\n---\n") {
		object := &unstructured.Unstructured{}
		Expect(yaml.Unmarshal([]byte(manifest), object)).To(Succeed())
		objects = append(objects, object)
	}
	return objects
}

// built returns an object among those of an installation.
func built[T any](objects []*unstructured.Unstructured, kind, name string) *T {
	GinkgoHelper()
	i := slices.IndexFunc(objects,
		func(o *unstructured.Unstructured) bool { return o.GetKind() == kind && o.GetName() == name })
	Expect(i).To(BeNumerically(">=", 0), "%s %s", kind, name)
	object := new(T)
	Expect(runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(objects[i].Object, object,
		true)).To(Succeed())
	return object
}

// deployments returns the names of an installation's Deployments.
func deployments(objects []*unstructured.Unstructured) []string {
	var names []string
	for _, object := range objects {
		if object.GetKind() == "Deployment" {
			names = append(names, object.GetName())
		}
	}
	return names
}

// components returns the names of config/components.
func components() []string {
	GinkgoHelper()
	root := folder("components")
	var found []string
	Expect(filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if filepath.Base(path) == "kustomization.yaml" {
			name, relErr := filepath.Rel(root, filepath.Dir(path))
			found = append(found, name)
			return relErr
		}
		return err
	})).To(Succeed())
	Expect(len(found)).To(BeNumerically(">", 10))
	return found
}

var _ = Describe("config/components", func() {
	It("are each accepted by the API server, with what they change", func(ctx SpecContext) {
		plain := build(ctx)
		for _, component := range components() {
			objects := build(ctx, component)
			Expect(objects).NotTo(Equal(plain), "%s changes nothing", component)
			for _, object := range objects {
				if slices.Contains(foreign, object.GroupVersionKind().Group) ||
					slices.ContainsFunc(plain, func(o *unstructured.Unstructured) bool {
						return equality.Semantic.DeepEqual(o, object)
					}) {
					continue // No kind of this cluster's; or applied by the other specs.
				}
				Expect(cp.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.DryRunAll,
					client.FieldOwner("test"), client.ForceOwnership)).To(Succeed(), "%s: %s %s", component, object.GetKind(),
					object.GetName())
			}
		}
	})

	It("has TLS on every port of the verifier's, but where plain text is asked for", func(ctx SpecContext) {
		for _, component := range components() {
			pod := built[appsv1.Deployment](build(ctx, component), "Deployment", "apikey-verifier").Spec.Template.Spec
			container := pod.Containers[0]
			plain, scheme := component == "plain-text", corev1.URISchemeHTTPS
			if plain {
				scheme = ""
			}
			Expect(slices.Contains(container.Args, "--insecure-plain-text")).To(Equal(plain), component)
			Expect(slices.ContainsFunc(container.Args,
				func(arg string) bool { return strings.HasPrefix(arg, "--tls-") })).To(Equal(!plain), component)
			for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe} {
				Expect(probe.HTTPGet.Scheme).To(Equal(scheme), component)
			}
			if plain {
				Expect(pod.Volumes).To(BeEmpty(), component)
			} else {
				Expect(pod.Volumes).To(HaveLen(1), component)
			}
		}
	})

	It("has the controller sign certificates, but where they come from elsewhere", func(ctx SpecContext) {
		for _, component := range components() {
			container := built[appsv1.Deployment](build(ctx, component), "Deployment",
				"apikey-controller").Spec.Template.Spec.Containers[0]
			elsewhere := component == "tls" || component == "cert-manager"
			Expect(slices.Contains(container.Args, "--self-signed-certificates")).To(Equal(!elsewhere), component)
			if elsewhere {
				Expect(container.VolumeMounts).To(HaveLen(1), component)
			} else {
				Expect(container.VolumeMounts).To(BeEmpty(), component)
			}
		}
	})

	It("shows metrics to nobody who may not read them, but where plain text is asked for", func(ctx SpecContext) {
		for _, component := range components() {
			objects := build(ctx, component)
			for _, name := range []string{"apikey-controller", "apikey-verifier"} {
				container := built[appsv1.Deployment](objects, "Deployment", name).Spec.Template.Spec.Containers[0]
				plain := component == "plain-text" && name == "apikey-verifier"
				Expect(slices.Contains(container.Args, "--metrics-secure")).To(Equal(!plain), "%s: %s", component, name)
			}
		}
	})

	It("has pods wait for their certificates", func(ctx SpecContext) {
		// A pod that starts without an optional Secret keeps an empty folder for a while.
		for _, component := range components() {
			objects := build(ctx, component)
			for _, name := range deployments(objects) {
				for _, volume := range built[appsv1.Deployment](objects, "Deployment", name).Spec.Template.Spec.Volumes {
					if volume.Secret != nil {
						Expect(volume.Secret.Optional).To(BeNil(), "%s: %s, %s", component, name, volume.Name)
					}
				}
			}
		}
	})

	It("sends the token of Prometheus to nobody but whom it has checked", func(ctx SpecContext) {
		for _, chosen := range [][]string{{"monitoring"}, {"monitoring", "tls"}, {"monitoring", "cert-manager"},
			{"monitoring", "plain-text"}} {
			objects := build(ctx, chosen...)
			for _, name := range []string{"apikey-controller", "apikey-verifier"} {
				monitor := built[map[string]any](objects, "ServiceMonitor", name)
				endpoints, _, err := unstructured.NestedSlice(*monitor, "spec", "endpoints")
				Expect(err).NotTo(HaveOccurred())
				Expect(endpoints).To(HaveLen(1))
				if slices.Contains(chosen, "plain-text") && name == "apikey-verifier" {
					Expect(endpoints[0]).To(And(HaveLen(2), HaveKeyWithValue("scheme", "http"), HaveKeyWithValue("port", "metrics")))
					Expect(built[appsv1.Deployment](objects, "Deployment",
						name).Spec.Template.Spec.Containers[0].Args).NotTo(ContainElement("--metrics-secure"))
					continue
				}
				ca := map[string]any{"configMap": map[string]any{"name": certificates.BundleName, "key": certificates.BundleKey}}
				if slices.Contains(chosen, "cert-manager") {
					ca = map[string]any{"secret": map[string]any{"name": name + "-tls", "key": "ca.crt"}}
				}
				Expect(endpoints[0]).To(And(HaveKeyWithValue("scheme", "https"), HaveKey("bearerTokenFile"),
					HaveKeyWithValue("tlsConfig",
						Equal(map[string]any{"ca": ca, "serverName": name + "-metrics.apikey-system.svc"}))), "%v: %s", chosen, name)
			}
		}
	})

	It("has certificates of cert-manager's for the names that are asked for", func(ctx SpecContext) {
		objects := build(ctx, "cert-manager")
		for _, name := range []string{"apikey-controller", "apikey-verifier"} {
			certificate := built[map[string]any](objects, "Certificate", name)
			names, _, err := unstructured.NestedStringSlice(*certificate, "spec", "dnsNames")
			Expect(err).NotTo(HaveOccurred())
			metrics := name + "-metrics.apikey-system.svc"
			Expect(names).To(ContainElements(metrics, metrics+".cluster.local"))

			deployment := built[appsv1.Deployment](objects, "Deployment", name)
			volume := deployment.Spec.Template.Spec.Volumes[0]
			Expect((*certificate)["spec"]).To(HaveKeyWithValue("secretName", volume.Secret.SecretName))
			mount := deployment.Spec.Template.Spec.Containers[0].VolumeMounts[0]
			Expect(deployment.Spec.Template.Spec.Containers[0].Args).To(ContainElements(
				"--tls-cert-file="+mount.MountPath+"/tls.crt", "--tls-private-key-file="+mount.MountPath+"/tls.key"))
		}
	})

	It("limits the controller to the namespaces that it serves", func(ctx SpecContext) {
		objects := build(ctx, "namespaces")
		Expect(objects).NotTo(ContainElement(HaveField("Object", And(
			HaveKeyWithValue("kind", "ClusterRoleBinding"), HaveKeyWithValue("metadata",
				HaveKeyWithValue("name", "apikey-controller-secrets"))))))
		bound := []string{}
		for _, object := range objects {
			if object.GetKind() == "RoleBinding" && object.GetName() == "apikey-controller-secrets" {
				bound = append(bound, object.GetNamespace())
			}
		}
		Expect(bound).To(ConsistOf(systemNamespace, tenantNamespace))
		deployment := built[appsv1.Deployment](objects, "Deployment", "apikey-controller")
		Expect(deployment.Spec.Template.Spec.Containers[0].Args).To(ContainElement("--namespaces=" + tenantNamespace))
	})

	It("has a NetworkPolicy for every proxy, about ports that the pods have", func(ctx SpecContext) {
		for _, component := range components() {
			proxy, ok := strings.CutPrefix(component, "network-policies/")
			if !ok || proxy == "none" {
				continue
			}
			Expect(filepath.Join(folder(".."), "docs", "guides", proxy+".md")).To(BeARegularFile())
			aboutPorts(build(ctx, component), "apikey-verifier-from-"+proxy)
		}
	})

	It("lets nobody in but probes, monitoring and who has the label", func(ctx SpecContext) {
		objects := build(ctx, "console")
		aboutPorts(objects, "apikey-console")
		for _, name := range []string{"apikey-operator", "apikey-verifier-from-proxies"} {
			aboutPorts(build(ctx), name) // The console has no port for metrics.
		}
		closed := built[networkingv1.NetworkPolicy](objects, "NetworkPolicy", "apikey-operator")
		for _, name := range deployments(objects) { // Who is selected at all is reached only as policies say.
			Expect(built[appsv1.Deployment](objects, "Deployment", name).Spec.Template.Labels).To(
				HaveKeyWithValue("app.kubernetes.io/part-of", closed.Spec.PodSelector.MatchLabels["app.kubernetes.io/part-of"]))
		}
		for _, object := range objects {
			if object.GetKind() != "NetworkPolicy" {
				continue
			}
			policy := built[networkingv1.NetworkPolicy](objects, "NetworkPolicy", object.GetName())
			Expect(policy.Spec.PolicyTypes).To(ConsistOf(networkingv1.PolicyTypeIngress))
			for _, rule := range policy.Spec.Ingress {
				for _, port := range rule.Ports {
					Expect(rule.From == nil).To(Equal(port.Port.StrVal == "health"), "%s: %s", policy.Name, port.Port)
				}
			}
		}
	})

	It("can do without NetworkPolicies", func(ctx SpecContext) {
		for _, object := range build(ctx, "console", "network-policies/none") {
			Expect(object.GetKind()).NotTo(Equal("NetworkPolicy"))
		}
	})
})

// aboutPorts checks that a NetworkPolicy selects pods, and names ports that they have.
func aboutPorts(objects []*unstructured.Unstructured, name string) {
	GinkgoHelper()
	policy := built[networkingv1.NetworkPolicy](objects, "NetworkPolicy", name)
	selector := labels.SelectorFromSet(policy.Spec.PodSelector.MatchLabels)
	selected := 0
	for _, name := range deployments(objects) {
		template := built[appsv1.Deployment](objects, "Deployment", name).Spec.Template
		if !selector.Matches(labels.Set(template.Labels)) {
			continue
		}
		selected++
		for _, rule := range policy.Spec.Ingress {
			for _, port := range rule.Ports {
				Expect(template.Spec.Containers[0].Ports).To(ContainElement(HaveField("Name", port.Port.StrVal)), "%s: %s",
					policy.Name, name)
			}
		}
	}
	Expect(selected).To(BeNumerically(">", 0), policy.Name)
}
