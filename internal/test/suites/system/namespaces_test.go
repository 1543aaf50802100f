package system_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// TestChosenNamespaces runs the controller with the rights of config/components/namespaces: to the Secrets of one
// namespace and of its own, and of no other.
func TestChosenNamespaces(t *testing.T) {
	const served = "warehouse" // as the component has it
	i := install.New(t, install.Options{Objects: []client.Object{
		fixture.Policy("shop"), fixture.Tenant("acme"), fixture.Namespace(served, "acme"), fixture.Namespace("elsewhere",
			"acme"),
	}})
	install.Kubectl(t, i.ControlPlane, "apply", "--server-side", "-k",
		install.Kustomization(t, []string{"rbac"}, "namespaces"))
	var everywhere rbacv1.ClusterRoleBinding
	if err := i.Client.Get(t.Context(), client.ObjectKey{Name: "apikey-controller-secrets"},
		&everywhere); !apierrors.IsNotFound(err) {
		t.Fatalf("the controller may read and write Secrets everywhere: %v", err)
	}
	controller := i.StartController(t, install.ControllerOptions{Flags: []string{"--namespaces=" + served}})

	key := fixture.ApiKey(served, "key")
	outside := fixture.ApiKey("elsewhere", "key")
	digest := fixture.ApiKey("elsewhere", "digest", func(key *keysv1alpha1.ApiKey) {
		key.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: strings.Repeat("2c", 32), Prefix: "nxc_live_7Hk2PqZx"}
	})
	i.Create(t, key, outside, digest)
	i.Await(t, key, keysv1alpha1.ReasonReady)
	token := i.Token(t, key)
	i.Await(t, outside, keysv1alpha1.ReasonNamespaceNotServed)
	i.Await(t, digest, keysv1alpha1.ReasonReady)

	// A Secret that is deleted there is made again, as it is everywhere else.
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: served, Name: key.Status.SecretName}}
	i.Delete(t, secret)
	program.WaitUntil(t, timeout, "the Secret again", func() error {
		return i.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret)
	})
	if i.Token(t, key) != token {
		t.Error("another token")
	}

	// A namespace that isn't served any more: its key works on, and can be revoked, but its Secret is left.
	controller.Terminate(timeout)
	install.Kubectl(t, i.ControlPlane, "delete", "rolebinding", "-n", served, "apikey-controller-secrets")
	install.Kubectl(t, i.ControlPlane, "create", "rolebinding", "-n", "elsewhere", "apikey-controller-secrets",
		"--clusterrole=apikey-controller-secrets", "--serviceaccount=apikey-system:apikey-controller")
	i.StartController(t, install.ControllerOptions{Flags: []string{"--namespaces=elsewhere"}})
	i.Await(t, outside, keysv1alpha1.ReasonReady)
	i.Await(t, key, keysv1alpha1.ReasonNamespaceNotServed)
	i.Revoke(t, key)
	i.Await(t, key, keysv1alpha1.ReasonRevoked)
	i.Await(t, key, keysv1alpha1.ConditionRevocationEffective)
	if err := i.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil ||
		key.Status.SecretName != secret.Name {
		t.Errorf("%v; status.secretName is %q", err, key.Status.SecretName)
	}
}
