package manifests_test

import (
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var _ = Describe("The console", func() {
	It("has no rights of its own, and no token", func(ctx SpecContext) {
		objects := build(ctx, "console")
		for _, object := range objects {
			Expect(object.GetKind() + " " + object.GetName()).NotTo(MatchRegexp("(Role|RoleBinding) .*console"))
		}
		console := serviceAccount("apikey-console")
		Expect(writes(ctx, console)).To(BeEmpty())
		Expect(escalations(ctx, console)).To(BeEmpty())
		for _, resource := range []string{apikeys, tenants, accessPolicies, "namespaces", "secrets", "configmaps"} {
			for _, namespace := range []string{"", systemNamespace, tenantNamespace} {
				for _, verb := range []string{"get", "list", "watch"} {
					what := action{verb: verb, resource: resource, namespace: namespace}
					Expect(allowed(ctx, console, what)).To(BeFalse(), what.String())
				}
			}
		}
		Expect(built[corev1.ServiceAccount](objects, "ServiceAccount",
			"apikey-console").AutomountServiceAccountToken).To(HaveValue(BeFalse()))
		pod := built[appsv1.Deployment](objects, "Deployment", "apikey-console").Spec.Template.Spec
		Expect(pod.ServiceAccountName).To(Equal("apikey-console"))
		Expect(pod.AutomountServiceAccountToken).To(HaveValue(BeFalse()))
		for _, volume := range pod.Volumes {
			if volume.Projected != nil {
				Expect(volume.Projected.Sources).To(HaveEach(HaveField("ServiceAccountToken", BeNil())))
			}
		}
	})

	It("runs pods that the namespace admits, with flags that it has", func(ctx SpecContext) {
		deployment := built[appsv1.Deployment](build(ctx, "console"), "Deployment", "apikey-console")
		admitted := &corev1.Pod{Spec: deployment.Spec.Template.Spec}
		admitted.GenerateName, admitted.Namespace = "test-", systemNamespace
		admitted.Spec.ServiceAccountName = "default" // The component isn't applied here.
		Expect(cp.Client.Create(ctx, admitted, client.DryRunAll)).To(Succeed())
		takesFlags(ctx, deployment)
	})

	It("can lose a pod, and is reached by a Service", func(ctx SpecContext) {
		objects := build(ctx, "console")
		deployment := built[appsv1.Deployment](objects, "Deployment", "apikey-console")
		Expect(deployment.Spec.Replicas).To(HaveValue(BeNumerically(">=", 2)))
		budget := built[policyv1.PodDisruptionBudget](objects, "PodDisruptionBudget", "apikey-console")
		Expect(budget.Spec.Selector).To(Equal(deployment.Spec.Selector))
		service := built[corev1.Service](objects, "Service", "apikey-console")
		Expect(service.Spec.Selector).To(Equal(deployment.Spec.Selector.MatchLabels))
		for _, port := range service.Spec.Ports {
			Expect(deployment.Spec.Template.Spec.Containers[0].Ports).To(ContainElement(HaveField("Name",
				port.TargetPort.StrVal)))
		}
	})

	It("has replicas that find one another, those that start included", func(ctx SpecContext) {
		objects := build(ctx, "console")
		deployment := built[appsv1.Deployment](objects, "Deployment", "apikey-console")
		service := built[corev1.Service](objects, "Service", "apikey-console-peers")
		Expect(service.Spec.ClusterIP).To(Equal(corev1.ClusterIPNone))
		Expect(service.Spec.PublishNotReadyAddresses).To(BeTrue())
		Expect(service.Spec.Selector).To(Equal(deployment.Spec.Selector.MatchLabels))
		Expect(deployment.Spec.Template.Spec.Containers[0].Args).To(ContainElement("--peers=apikey-console-peers:8443"))
		// A headless Service leads to the pod itself, so the port is the pod's.
		Expect(deployment.Spec.Template.Spec.Containers[0].Ports).To(ContainElement(And(HaveField("Name", "https"),
			HaveField("ContainerPort", int32(8443)))))
	})

	It("finds the API server by a kubeconfig in which nobody's credentials are", func(ctx SpecContext) {
		objects := build(ctx, "console")
		content := built[corev1.ConfigMap](objects, "ConfigMap", "apikey-console").Data["kubeconfig"]
		mounted := GinkgoT().TempDir() // As the volume has it.
		Expect(os.WriteFile(filepath.Join(mounted, "kubeconfig"), []byte(content), 0o600)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(mounted, "ca.crt"), cp.Config.CAData, 0o600)).To(Succeed())
		config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(mounted, "kubeconfig"))
		Expect(err).NotTo(HaveOccurred())
		Expect(config.Host).To(Equal("https://kubernetes.default.svc"))
		Expect(config.BearerToken + config.BearerTokenFile + config.Username + config.CertFile).To(BeEmpty())
		Expect(config.ExecProvider).To(BeNil())
		Expect(config.CAFile).To(Equal(filepath.Join(mounted, "ca.crt"))) // What kube-root-ca.crt has.
	})
})
