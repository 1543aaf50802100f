// Package crash kills the controller (kill -9) before and after each of its writes, starts it again, and looks at what
// comes of it. The controller is the real binary with the rights that config/rbac gives it.
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

const patience = 30 * time.Second

// lab is what all the rounds share.
type lab struct {
	cp       *controlplane.ControlPlane
	binary   string
	assassin *assassin
}

// TestKilledAtEveryWrite covers the minting sequence: it goes on to the next write until the controller is done before
// it is killed.
func TestKilledAtEveryWrite(t *testing.T) {
	cp := install.ControlPlane(t, controlplane.Options{}, "rbac")
	create(t, cp.Client, fixture.Policy("nexuscommerce"))
	l := &lab{
		cp:       cp,
		binary:   program.Build(t, "./cmd/controller"),
		assassin: newAssassin(t, cp.ServiceAccountConfig("apikey-controller")),
	}
	// With a step of 2 it is killed before every other write, and after those between.
	step := effort.Pick(3, 2, 1)
	for first, moment := range []moment{beforeWrite, afterWrite} {
		points := 0
		for write := 1 + first%step; ; write += step {
			done := false
			if !t.Run(fmt.Sprintf("%s write %d", moment, write), func(t *testing.T) { done = l.round(t, write, moment) }) ||
				done {
				break
			}
			points++
		}
		t.Logf("killed %s %d writes", moment, points)
		// The root key, the tenant's status, its ledger, the announcement, the Secret and the record.
		if points < 6/step {
			t.Errorf("the minting sequence has at least 6 writes, and only %d points of every %d were met", points, step)
		}
	}
}

// round mints one key, with the controller killed at one write. It is true when the controller was done without coming
// to that write.
func (l *lab) round(t *testing.T, write int, moment moment) bool {
	ctx := t.Context()
	name := fixture.Name("tenant")
	namespace := fixture.Namespace(fixture.Name("ns"), name)
	system := fixture.Namespace(fixture.Name("system"), "") // With a root key of its own.
	tenant := fixture.Tenant(name)
	create(t, l.cp.Client, system, namespace)
	l.permit(t, system.Name)

	key := fixture.ApiKey(namespace.Name, "key")
	digests := l.record(t, key)
	victim := l.start(t, system.Name)
	l.assassin.arm(write, moment, victim.Kill)
	create(t, l.cp.Client, tenant, key)

	survived := l.settle(t, key, victim)
	writes := l.assassin.disarm()
	if survived {
		victim.Kill()
	} else {
		t.Logf("killed at %s", writes[len(writes)-1])
		successor := l.start(t, system.Name)
		if !l.settle(t, key, successor) {
			t.Fatalf("the successor ended by itself:\n%s", successor.Log())
		}
		successor.Kill()
	}
	l.check(ctx, t, key, tenant, system, digests())
	return survived
}

// permit gives the controller in another namespace the rights that config/rbac gives it in its own.
func (l *lab) permit(t *testing.T, namespace string) {
	t.Helper()
	var roles rbacv1.RoleList
	var bindings rbacv1.RoleBindingList
	for _, list := range []client.ObjectList{&roles, &bindings} {
		if err := l.cp.Client.List(t.Context(), list, client.InNamespace(controlplane.SystemNamespace)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range roles.Items {
		create(t, l.cp.Client,
			&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: roles.Items[i].Name},
				Rules: roles.Items[i].Rules})
	}
	for i := range bindings.Items {
		b := &bindings.Items[i]
		create(t, l.cp.Client,
			&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: b.Name}, Subjects: b.Subjects,
				RoleRef: b.RoleRef})
	}
}

func (l *lab) start(t *testing.T, systemNamespace string) *program.Process {
	return program.Start(t, l.binary, "--kubeconfig="+l.assassin.proxy.Kubeconfig(t), "--namespace="+systemNamespace,
		"--leader-elect=false", "--metrics-bind-address=0", "--health-probe-bind-address=0")
}

// settle waits until the key is Ready and its tenant is too, or the controller is dead, in which case it is false.
func (l *lab) settle(t *testing.T, key *keysv1alpha1.ApiKey, process *program.Process) bool {
	alive := true
	program.WaitUntil(t, patience, "a Ready key or a dead controller", func() error {
		select {
		case <-process.Exited():
			alive = false
			return nil
		default:
		}
		if err := l.cp.Client.Get(t.Context(), client.ObjectKeyFromObject(key), key); err != nil {
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
func (l *lab) record(t *testing.T, key *keysv1alpha1.ApiKey) func() []string {
	ctx, cancel := context.WithCancel(t.Context())
	states, err := l.cp.Follow(ctx, key.Namespace)
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
		case <-time.After(patience):
			return nil
		}
	}
}

// check looks at what is left: one credential for ever, one Secret with its token, one place, one root key.
func (l *lab) check(ctx context.Context, t *testing.T, key *keysv1alpha1.ApiKey, tenant *keysv1alpha1.Tenant,
	system *corev1.Namespace, digests []string) {
	t.Helper()
	// S4: whatever was announced first is what it stays.
	if len(digests) != 1 || len(key.Status.Credentials) != 1 || key.Status.Credentials[0].Digest != digests[0] {
		t.Errorf("digests %v were announced, status ends with %v", digests, key.Status.Credentials)
	}
	secrets := &corev1.SecretList{}
	if err := l.cp.Client.List(ctx, secrets, client.InNamespace(key.Namespace)); err != nil {
		t.Fatal(err)
	}
	if len(secrets.Items) != 1 || !metav1.IsControlledBy(&secrets.Items[0], key) ||
		token.DigestOf(string(secrets.Items[0].Data["token"])).String() != digests[0] {
		t.Errorf("%d Secrets, or not the key's own with the token that was announced", len(secrets.Items))
	}
	roots := &corev1.SecretList{}
	if err := l.cp.Client.List(ctx, roots, client.InNamespace(system.Name)); err != nil {
		t.Fatal(err)
	}
	if len(roots.Items) != 1 || roots.Items[0].Name != fmt.Sprintf("apikey-root-%d", key.Status.Credentials[0].Root) {
		t.Errorf("%d root keys, or not the one that status names", len(roots.Items))
	}
	if err := l.cp.Client.Get(ctx, client.ObjectKeyFromObject(tenant), tenant); err != nil {
		t.Fatal(err)
	}
	if len(tenant.Status.ActiveKeys) != 1 || !strings.HasPrefix(tenant.Status.Keys, "1/") {
		t.Errorf("ledger %v, %q", tenant.Status.ActiveKeys, tenant.Status.Keys)
	}
}

func create(t *testing.T, c client.Client, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}
