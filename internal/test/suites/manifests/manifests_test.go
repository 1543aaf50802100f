package manifests_test

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/certificates"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

var _ = Describe("config", func() {
	DescribeTable("builds, and applies by itself", func(ctx SpecContext, name string) {
		Expect(kubectl(ctx, "kustomize", folder(name))).To(ContainSubstring("kind: "))
		apply(ctx, name)
	},
		Entry(nil, "crd"), Entry(nil, "rbac"), Entry(nil, "policy"), Entry(nil, "controller"), Entry(nil,
			"verifier"), Entry(nil, "samples"), Entry(nil, "default"),
	)

	DescribeTable("changes nothing when it is applied again", func(ctx SpecContext, name string) {
		versions := func() []string {
			out := kubectl(ctx, "get", "-k", folder(name), "--output",
				`jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.resourceVersion}{"\n"}{end}`)
			return strings.Split(strings.TrimSpace(out), "\n")
		}
		before := versions()
		Expect(len(before)).To(BeNumerically(">", 1))
		apply(ctx, name)
		Expect(versions()).To(Equal(before))
	},
		Entry(nil, "samples"), Entry(nil, "default"),
	)

	It("has TLS on every port of the verifier's, and tokens of its callers for nothing else", func(ctx SpecContext) {
		var verifier appsv1.Deployment
		Expect(cp.Client.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: "apikey-verifier"},
			&verifier)).To(Succeed())
		pod := verifier.Spec.Template.Spec
		container := pod.Containers[0]
		Expect(container.Args).To(ContainElements(
			"--tls-cert-file=/etc/apikey-verifier/tls/tls.crt", "--tls-private-key-file=/etc/apikey-verifier/tls/tls.key"))
		Expect(container.Args).NotTo(ContainElement(ContainSubstring("plain-text")))
		for _, probe := range []*corev1.Probe{container.LivenessProbe, container.ReadinessProbe} {
			Expect(probe.HTTPGet.Scheme).To(Equal(corev1.URISchemeHTTPS))
		}
		Expect(container.VolumeMounts).To(ContainElement(And(
			HaveField("Name", pod.Volumes[0].Name), HaveField("MountPath", "/etc/apikey-verifier/tls"), HaveField("SubPath",
				""))))
		Expect(pod.Volumes[0].Secret.SecretName).To(Equal("apikey-verifier-tls"))
		Expect(pod.Volumes[0].Secret.Optional).To(BeNil(), "pods wait for it")
		Expect(container.Args).To(ContainElement("--caller-audiences=apikey-verifier"))
	})

	It("has the controller sign the certificates that pods mount, for the Services that they are behind",
		func(ctx SpecContext) {
			var controller appsv1.Deployment
			Expect(cp.Client.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: "apikey-controller"},
				&controller)).To(Succeed())
			Expect(controller.Spec.Template.Spec.Containers[0].Args).To(ContainElement("--self-signed-certificates"))
			Expect(controller.Spec.Template.Spec.Volumes).To(BeEmpty(), "it would wait for what it makes")
			objects := build(ctx, "console")
			for secret, services := range certificates.Serving {
				deployment := strings.TrimSuffix(secret, "-tls")
				pod := built[appsv1.Deployment](objects, "Deployment", deployment).Spec.Template
				if secret != certificates.ControllerSecret {
					Expect(pod.Spec.Volumes).To(ContainElement(HaveField("Secret", HaveField("SecretName", secret))), deployment)
				}
				for _, service := range services {
					selector := built[corev1.Service](objects, "Service", service).Spec.Selector
					Expect(labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels))).To(BeTrue(), service)
				}
			}
		})

	It("has a canary that is no key", func(ctx SpecContext) {
		var canary keysv1alpha1.ApiKey
		Expect(cp.Client.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: canaryName}, &canary)).To(Succeed())
		Expect(canary.Labels).To(HaveKeyWithValue(keysv1alpha1.CanaryLabel, "true"))
		Expect(canary.Spec.State).To(Equal(keysv1alpha1.ApiKeySuspended))

		var policies keysv1alpha1.AccessPolicyList
		Expect(cp.Client.List(ctx, &policies)).To(Succeed())
		for _, policy := range policies.Items {
			for _, declared := range policy.Spec.Scopes {
				Expect(canary.Spec.Scopes).NotTo(ContainElement(declared.Name))
			}
		}
	})

	It("has samples that belong together", func(ctx SpecContext) {
		var tenants keysv1alpha1.TenantList
		Expect(cp.Client.List(ctx, &tenants)).To(Succeed())
		var keys keysv1alpha1.ApiKeyList
		Expect(cp.Client.List(ctx, &keys)).To(Succeed())
		for _, key := range keys.Items {
			if key.Labels[keysv1alpha1.CanaryLabel] != "" {
				continue
			}
			var namespace corev1.Namespace
			Expect(cp.Client.Get(ctx, client.ObjectKey{Name: key.Namespace}, &namespace)).To(Succeed())
			owners := slices.DeleteFunc(slices.Clone(tenants.Items), func(tenant keysv1alpha1.Tenant) bool {
				selector, err := metav1.LabelSelectorAsSelector(tenant.Spec.NamespaceSelector)
				Expect(err).NotTo(HaveOccurred())
				return !selector.Matches(labels.Set(namespace.Labels))
			})
			Expect(owners).To(HaveLen(1), "tenants of the namespace of %s/%s", key.Namespace, key.Name)
			Expect(owners[0].Spec.ExpiryOptions).To(ContainElement(key.Spec.Expiry.OrNever()), "%s/%s", key.Namespace, key.Name)
		}
	})
})

// takesFlags checks that a Deployment's program has the flags that the manifest gives it.
func takesFlags(ctx context.Context, deployment *appsv1.Deployment) {
	GinkgoHelper()
	container := deployment.Spec.Template.Spec.Containers[0]
	binary := program.Build(GinkgoTB(), "./cmd/"+container.Name)

	// Every flag is read before the version is printed.
	out, err := exec.CommandContext(ctx, binary, append(container.Args, "--version")...).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(out))
}

var _ = Describe("Deployments", func() {
	list := func(ctx SpecContext) []appsv1.Deployment {
		GinkgoHelper()
		var list appsv1.DeploymentList
		Expect(cp.Client.List(ctx, &list, client.InNamespace(systemNamespace))).To(Succeed())
		Expect(list.Items).To(HaveLen(2))
		return list.Items
	}
	pod := func(spec corev1.PodSpec) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Namespace: systemNamespace}, Spec: spec}
	}

	It("run pods that the namespace admits", func(ctx SpecContext) {
		careless := pod(corev1.PodSpec{Containers: []corev1.Container{{Name: "careless", Image: "careless"}}})
		Expect(cp.Client.Create(ctx, careless, client.DryRunAll)).To(MatchError(apierrors.IsForbidden,
			"restricted pod security"))
		for _, deployment := range list(ctx) {
			Expect(cp.Client.Create(ctx, pod(deployment.Spec.Template.Spec), client.DryRunAll)).To(Succeed(), deployment.Name)
		}
	})

	It("run as the accounts that config/rbac is about", func(ctx SpecContext) {
		for _, deployment := range list(ctx) {
			account := deployment.Spec.Template.Spec.ServiceAccountName
			Expect(account).To(Equal(deployment.Name))
			Expect(cp.Client.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: account},
				&corev1.ServiceAccount{})).To(Succeed())
		}
	})

	It("can lose a pod, a node and a zone", func(ctx SpecContext) {
		for _, deployment := range list(ctx) {
			Expect(deployment.Spec.Replicas).To(HaveValue(BeNumerically(">=", 2)), deployment.Name)

			var budget policyv1.PodDisruptionBudget
			Expect(cp.Client.Get(ctx, client.ObjectKeyFromObject(&deployment), &budget)).To(Succeed())
			Expect(budget.Spec.Selector).To(Equal(deployment.Spec.Selector), deployment.Name)
			Expect(budget.Spec.MaxUnavailable).To(HaveValue(Equal(intstr.FromInt32(1))), deployment.Name)

			for _, topology := range []string{corev1.LabelHostname, corev1.LabelTopologyZone} {
				Expect(deployment.Spec.Template.Spec.TopologySpreadConstraints).To(ContainElement(And(
					HaveField("TopologyKey", topology),
					HaveField("WhenUnsatisfiable", corev1.ScheduleAnyway), // A lone node runs all of them.
					HaveField("LabelSelector", deployment.Spec.Selector),
				)), deployment.Name)
			}
		}
	})

	It("have a verifier that is let go before it stops", func(ctx SpecContext) {
		i := slices.IndexFunc(list(ctx), func(d appsv1.Deployment) bool { return d.Name == "apikey-verifier" })
		deployment := list(ctx)[i]
		Expect(deployment.Spec.Strategy.RollingUpdate.MaxUnavailable).To(HaveValue(Equal(intstr.FromInt32(0))))
		pod := deployment.Spec.Template.Spec
		container := pod.Containers[0]
		Expect(container.ReadinessProbe.HTTPGet.Path).To(Equal("/readyz"))
		letGo := time.Duration(container.Lifecycle.PreStop.Sleep.Seconds) * time.Second
		Expect(letGo).To(BeNumerically(">", 0))
		const shutdownTimeout = 20 * time.Second // the default of --shutdown-timeout
		Expect(container.Args).NotTo(ContainElement(HavePrefix("--shutdown-timeout")))
		Expect(time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second).To(BeNumerically(">", letGo+shutdownTimeout))
	})

	// docs/scale.json is what docs/scale.md shows. A start takes the most memory.
	It("have memory for the keys that were measured: 1,000 at once, and 100,000 within the limit", func(ctx SpecContext) {
		content, err := os.ReadFile(folder("../docs/scale.json"))
		Expect(err).NotTo(HaveOccurred())
		type taken struct{ Peak float64 } // in MiB
		var measured []struct {
			Keys                 int
			Verifier, Controller taken
		}
		Expect(yaml.Unmarshal(content, &measured)).To(Succeed())
		seen := 0
		for _, deployment := range list(ctx) {
			container := deployment.Spec.Template.Spec.Containers[0]
			for _, m := range measured {
				peak := map[string]float64{"apikey-verifier": m.Verifier.Peak,
					"apikey-controller": m.Controller.Peak}[deployment.Name]
				Expect(peak).To(BeNumerically(">", 10))
				if m.Keys <= 1000 {
					Expect(container.Resources.Requests.Memory().AsApproximateFloat64()/(1<<20)).To(BeNumerically(">", peak),
						"%s, %d keys", deployment.Name, m.Keys)
				}
				if m.Keys <= 100_000 {
					seen++
					Expect(container.Resources.Limits.Memory().AsApproximateFloat64()/(1<<20)).To(BeNumerically(">", peak),
						"%s, %d keys", deployment.Name, m.Keys)
				}
			}
		}
		Expect(seen).To(BeNumerically(">=", 2*3))
	})

	It("pass flags that the programs have", func(ctx SpecContext) {
		for _, deployment := range list(ctx) {
			takesFlags(ctx, &deployment)
		}
	})

	It("are reached by Services", func(ctx SpecContext) {
		var services corev1.ServiceList
		Expect(cp.Client.List(ctx, &services, client.InNamespace(systemNamespace))).To(Succeed())
		Expect(services.Items).To(HaveLen(3))
		all := list(ctx)
		for _, service := range services.Items {
			i := slices.IndexFunc(all, func(d appsv1.Deployment) bool {
				return labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(d.Spec.Template.Labels))
			})
			Expect(i).To(BeNumerically(">=", 0), "no pods for Service %s", service.Name)
			for _, port := range service.Spec.Ports {
				Expect(all[i].Spec.Template.Spec.Containers[0].Ports).To(ContainElement(
					HaveField("Name", port.TargetPort.StrVal)), "Service %s", service.Name)
			}
		}
	})
})
