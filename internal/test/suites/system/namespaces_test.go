package system_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// TestChosenNamespaces runs the controller with the rights of config/components/namespaces: to the Secrets of one namespace and of
// its own, and of no other.
func TestChosenNamespaces(t *testing.T) {
	const served = "warehouse" // as the component has it
	cp := install.ControlPlane(t, controlplane.Options{})
	i := &installation{cp: cp}
	tenant := fixture.Tenant("acme")
	for _, object := range []client.Object{
		fixture.Policy("shop"), tenant, fixture.Namespace(served, tenant.Name), fixture.Namespace("elsewhere", tenant.Name),
	} {
		create(t, cp, object)
	}
	install.Kubectl(t, cp, "apply", "--server-side", "-k", install.Kustomization(t, []string{"rbac"}, "namespaces"))
	var everywhere rbacv1.ClusterRoleBinding
	if err := cp.Client.Get(t.Context(), client.ObjectKey{Name: "apikey-controller-secrets"}, &everywhere); !apierrors.IsNotFound(err) {
		t.Fatalf("the controller may do with Secrets what it wants, everywhere: %v", err)
	}
	binary := program.Build(t, "./cmd/controller")
	controller := install.Controller(t, cp, binary, "--namespaces="+served)

	key := fixture.ApiKey(served, "key")
	outside := fixture.ApiKey("elsewhere", "key")
	digest := fixture.ApiKey("elsewhere", "digest", func(key *keysv1alpha1.ApiKey) {
		key.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", Prefix: "nxc_live_7Hk2PqZx"}
	})
	for _, object := range []client.Object{key, outside, digest} {
		create(t, cp, object)
	}
	i.await(t, key, keysv1alpha1.ReasonReady)
	token := i.tokenOf(t, key)
	i.await(t, outside, keysv1alpha1.ReasonNamespaceNotServed)
	i.await(t, digest, keysv1alpha1.ReasonReady)

	// What is altered is noticed there, as it is everywhere else.
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: served, Name: key.Status.SecretName}}
	if err := cp.Client.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	program.WaitUntil(t, patience, "the Secret again", func() error {
		return cp.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret)
	})
	if i.tokenOf(t, key) != token {
		t.Error("another token")
	}

	// A namespace that isn't served any more: its key works on, and can be revoked, but its Secret is left.
	controller.Terminate(patience)
	install.Kubectl(t, cp, "delete", "rolebinding", "-n", served, "apikey-controller-secrets")
	install.Kubectl(t, cp, "create", "rolebinding", "-n", "elsewhere", "apikey-controller-secrets",
		"--clusterrole=apikey-controller-secrets", "--serviceaccount=apikey-system:apikey-controller")
	controller = install.Controller(t, cp, binary, "--namespaces=elsewhere")
	i.await(t, outside, keysv1alpha1.ReasonReady)
	i.await(t, key, keysv1alpha1.ReasonNamespaceNotServed)
	update(t, i, key, func(key *keysv1alpha1.ApiKey) { key.Spec.State = keysv1alpha1.ApiKeyRevoked })
	i.await(t, key, keysv1alpha1.ReasonRevoked)
	i.await(t, key, keysv1alpha1.ConditionRevocationEffective)
	if err := cp.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil || key.Status.SecretName != secret.Name {
		t.Errorf("%v; status.secretName is %q", err, key.Status.SecretName)
	}
	if t.Failed() {
		t.Log(controller.Log())
	}
}

func create(t *testing.T, cp *controlplane.ControlPlane, object client.Object) {
	t.Helper()
	if err := cp.Client.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}
