// Package crash kills the controller (kill -9) before and after each of its writes, starts it again, and checks the
// state of the key. The controller is the real binary with the rights that config/rbac gives it.
package crash_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/effort"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

const timeout = 30 * time.Second

// testbed is an installation whose controllers reach the API server through a proxy that kills them.
type testbed struct {
	*install.Installation

	killer *killer
}

// TestKilledAtEveryWrite covers the minting sequence: it kills the controller at one write after another, until the
// controller finishes before it is killed.
func TestKilledAtEveryWrite(t *testing.T) {
	i := install.New(t, install.Options{
		Manifests: []string{"rbac"}, Objects: []client.Object{fixture.Policy("nexuscommerce")},
	})
	b := &testbed{Installation: i, killer: newKiller(t, i.ServiceAccountConfig("apikey-controller"))}
	// With a step of 2 it is killed before every other write, and after those in between.
	step := effort.Pick(3, 2, 1)
	for first, when := range []moment{beforeWrite, afterWrite} {
		points := 0
		for write := 1 + first%step; ; write += step {
			done := false
			if !t.Run(fmt.Sprintf("%s write %d", when, write), func(t *testing.T) { done = b.mintKilled(t, write, when) }) ||
				done {
				break
			}
			points++
		}
		t.Logf("killed %s %d writes", when, points)
		// The root key, the tenant's status, its ledger, the announcement, the Secret and the record.
		if points < 6/step {
			t.Errorf("the minting sequence has at least 6 writes, and only %d points of every %d were met", points, step)
		}
	}
}

// mintKilled mints one key, with the controller killed at one write. It reports whether the controller finished without
// reaching that write.
func (b *testbed) mintKilled(t *testing.T, write int, when moment) bool {
	ctx := t.Context()
	tenant := fixture.Tenant(fixture.Name("tenant"))
	namespace := fixture.Namespace(fixture.Name("ns"), tenant.Name)
	system := fixture.Namespace(fixture.Name("system"), "") // It has a root key of its own.
	b.Create(t, system, namespace)
	b.grantRights(t, system.Name)

	key := fixture.ApiKey(namespace.Name, "key")
	digests := b.record(t, key)
	victim := b.start(t, system.Name)
	b.killer.arm(write, when, victim.Kill)
	b.Create(t, tenant, key)

	survived := b.settle(t, key, victim)
	writes := b.killer.disarm()
	if survived {
		victim.Kill()
	} else {
		t.Logf("killed at %s", writes[len(writes)-1])
		successor := b.start(t, system.Name)
		if !b.settle(t, key, successor) {
			t.Fatalf("the successor ended by itself:\n%s", successor.Log())
		}
		successor.Kill()
	}
	b.check(ctx, t, key, tenant, system, digests())
	return survived
}

// grantRights gives the controller in another namespace the rights that config/rbac gives it in its own.
func (b *testbed) grantRights(t *testing.T, namespace string) {
	t.Helper()
	var roles rbacv1.RoleList
	var bindings rbacv1.RoleBindingList
	for _, list := range []client.ObjectList{&roles, &bindings} {
		if err := b.Client.List(t.Context(), list, client.InNamespace(controlplane.SystemNamespace)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range roles.Items {
		meta := metav1.ObjectMeta{Namespace: namespace, Name: roles.Items[i].Name}
		b.Create(t, &rbacv1.Role{ObjectMeta: meta, Rules: roles.Items[i].Rules})
	}
	for i := range bindings.Items {
		binding := &bindings.Items[i]
		meta := metav1.ObjectMeta{Namespace: namespace, Name: binding.Name}
		b.Create(t, &rbacv1.RoleBinding{ObjectMeta: meta, Subjects: binding.Subjects, RoleRef: binding.RoleRef})
	}
}

func (b *testbed) start(t *testing.T, systemNamespace string) *install.Controller {
	return b.StartController(t, install.ControllerOptions{
		Kubeconfig: b.killer.proxy.Kubeconfig(t), Flags: []string{"--namespace=" + systemNamespace},
	})
}

// settle waits until the key is Ready or the controller is dead, and reports whether the controller is alive.
func (b *testbed) settle(t *testing.T, key *keysv1alpha1.ApiKey, process *install.Controller) bool {
	alive := true
	program.WaitUntil(t, timeout, "a Ready key or a dead controller", func() error {
		select {
		case <-process.Exited():
			alive = false
			return nil
		default:
		}
		if err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(key), key); err != nil {
			return err
		}
		if !apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionReady) {
			return fmt.Errorf("conditions %v\n%s", key.Status.Conditions, process.Log())
		}
		return nil
	})
	return alive
}

// record collects every digest that the key's status ever shows.
func (b *testbed) record(t *testing.T, key *keysv1alpha1.ApiKey) func() []string {
	ctx, cancel := context.WithCancel(t.Context())
	states, err := b.Follow(ctx, key.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	collected := make(chan []string)
	go func() {
		var digests []string
		for seen := range states {
			for _, credential := range seen.Status.Credentials {
				digests = append(digests, credential.Digest)
			}
			if apimeta.IsStatusConditionTrue(seen.Status.Conditions, keysv1alpha1.ConditionReady) {
				break
			}
		}
		collected <- digests
	}()
	return func() []string {
		defer cancel()
		select {
		case digests := <-collected:
			slices.Sort(digests)
			return slices.Compact(digests)
		case <-time.After(timeout):
			return nil
		}
	}
}

// check checks the final state: the credential that was announced first, one Secret with its token, one place in the
// ledger, and one root key.
func (b *testbed) check(ctx context.Context, t *testing.T, key *keysv1alpha1.ApiKey, tenant *keysv1alpha1.Tenant,
	system *corev1.Namespace, digests []string) {
	t.Helper()
	// S4: what was announced first never changes.
	if len(digests) != 1 || len(key.Status.Credentials) != 1 || key.Status.Credentials[0].Digest != digests[0] {
		t.Errorf("digests %v were announced, status ends with %v", digests, key.Status.Credentials)
	}
	secrets := &corev1.SecretList{}
	if err := b.Client.List(ctx, secrets, client.InNamespace(key.Namespace)); err != nil {
		t.Fatal(err)
	}
	if len(secrets.Items) != 1 || !metav1.IsControlledBy(&secrets.Items[0], key) ||
		token.DigestOf(string(secrets.Items[0].Data["token"])).String() != digests[0] {
		t.Errorf("%d Secrets, or not the key's own with the token that was announced", len(secrets.Items))
	}
	roots := &corev1.SecretList{}
	if err := b.Client.List(ctx, roots, client.InNamespace(system.Name)); err != nil {
		t.Fatal(err)
	}
	if len(roots.Items) != 1 || roots.Items[0].Name != fmt.Sprintf("apikey-root-%d", key.Status.Credentials[0].Root) {
		t.Errorf("%d root keys, or not the one that status names", len(roots.Items))
	}
	b.Get(t, tenant)
	if len(tenant.Status.ActiveKeys) != 1 || !strings.HasPrefix(tenant.Status.Keys, "1/") {
		t.Errorf("ledger %v, %q", tenant.Status.ActiveKeys, tenant.Status.Keys)
	}
}
