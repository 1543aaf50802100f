package canary_test

import (
	"os"
	"testing"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/canary"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// TestIsThatOfConfig checks that the controller's canary is the one that kubectl applies.
func TestIsThatOfConfig(t *testing.T) {
	g := NewWithT(t)
	content, err := os.ReadFile(install.Config("verifier", "canary.yaml"))
	g.Expect(err).NotTo(HaveOccurred())
	var want keysv1alpha1.ApiKey
	g.Expect(yaml.UnmarshalStrict(content, &want)).To(Succeed())
	want.TypeMeta = metav1.TypeMeta{}
	g.Expect(*canary.New(controlplane.SystemNamespace)).To(Equal(want))
}

// TestCreates checks that a canary that is missing is created, with the permissions of config/rbac, that one that is
// there stays as it is, and that a namespace that is being deleted is left alone.
func TestCreates(t *testing.T) {
	g, ctx := NewWithT(t), t.Context()
	cp := install.ControlPlane(t, controlplane.Options{}, "rbac")
	asController := controllersClient(t, cp)
	reconciled := func(namespace string, c client.Client) error {
		_, err := canary.NewController(c, namespace).Reconcile(ctx, reconcile.Request{})
		return err
	}
	read := func(namespace string) (*keysv1alpha1.ApiKey, error) {
		key := canary.New(namespace)
		return key, cp.Client.Get(ctx, client.ObjectKeyFromObject(key), key)
	}

	g.Expect(reconciled("default", cp.Client)).To(Succeed())
	g.Expect(read("default")).To(HaveField("OwnerReferences", BeEmpty()), "an administrator has no ServiceAccount")
	leaving := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "leaving"}}
	g.Expect(cp.Client.Create(ctx, leaving)).To(Succeed())
	g.Expect(cp.Client.Delete(ctx, leaving)).To(Succeed()) // Without kube-controller-manager it never goes.
	g.Expect(reconciled(leaving.Name, cp.Client)).To(Succeed())
	_, err := read(leaving.Name)
	g.Expect(err).To(MatchError(apierrors.IsNotFound, "not found"))

	install.Kubectl(t, cp, "apply", "--server-side", "-k", install.Config("policy"))
	g.Expect(reconciled("kube-public", asController)).To(MatchError(apierrors.IsForbidden, "not its namespace"))
	g.Expect(reconciled(controlplane.SystemNamespace, asController)).To(Succeed())
	created, err := read(controlplane.SystemNamespace)
	g.Expect(err).NotTo(HaveOccurred())
	account := &corev1.ServiceAccount{}
	g.Expect(cp.Client.Get(ctx, client.ObjectKey{Namespace: controlplane.SystemNamespace, Name: "apikey-controller"},
		account)).To(Succeed())
	g.Expect(created.OwnerReferences).To(Equal([]metav1.OwnerReference{
		{APIVersion: "v1", Kind: "ServiceAccount", Name: account.Name, UID: account.UID},
	}))

	g.Expect(reconciled(controlplane.SystemNamespace, asController)).To(Succeed())
	again, err := read(controlplane.SystemNamespace)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(again.ResourceVersion).To(Equal(created.ResourceVersion))
}

// controllersClient returns a client with a token of the controller's ServiceAccount.
func controllersClient(t *testing.T, cp *controlplane.ControlPlane) client.Client {
	t.Helper()
	account := &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: controlplane.SystemNamespace, Name: "apikey-controller"},
	}
	request := &authenticationv1.TokenRequest{}
	if err := cp.Client.SubResource("token").Create(t.Context(), account, request); err != nil {
		t.Fatal(err)
	}
	config := rest.AnonymousClientConfig(cp.Config)
	config.BearerToken = request.Status.Token
	c, err := client.New(config, client.Options{Scheme: cp.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
