// Package cluster looks at what kube-controller-manager does with keys: garbage collection and the deletion of
// namespaces, which nothing of this project may hold up; and at the controller when nothing is to be done.
package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/apiproxy"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/effort"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const timeout = 3 * time.Minute

// testbed is an installation with kube-controller-manager, whose controllers' writes are recorded.
type testbed struct {
	*install.Installation

	proxy *apiproxy.Proxy

	mu     sync.Mutex
	writes []string
}

func newTestbed(t *testing.T) *testbed {
	t.Helper()
	b := &testbed{Installation: install.New(t, install.Options{
		ControlPlane: controlplane.Options{ControllerManager: true},
		Manifests:    []string{"rbac"},
		Objects:      []client.Object{fixture.Policy("nexuscommerce")},
	})}
	b.proxy = apiproxy.New(t, b.ServiceAccountConfig("apikey-controller"), func(r *http.Request) apiproxy.Interference {
		if strings.HasPrefix(r.URL.Path, "/apis/authorization.k8s.io/") {
			return apiproxy.Interference{} // A review is created to ask something. It is not stored.
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.writes = append(b.writes, r.Method+" "+r.URL.Path)
		return apiproxy.Interference{}
	})
	return b
}

func (b *testbed) startController(t *testing.T) *install.Controller {
	t.Helper()
	return b.StartController(t, install.ControllerOptions{Kubeconfig: b.proxy.Kubeconfig(t)})
}

// mint creates keys in a namespace of a tenant of its own and waits until all are Ready.
func (b *testbed) mint(t *testing.T, count int) *corev1.Namespace {
	t.Helper()
	_, namespace := b.NewTenant(t, func(tenant *keysv1alpha1.Tenant) { tenant.Spec.MaxKeys = new(int32(500)) })
	for i := range count {
		b.Create(t, fixture.ApiKey(namespace.Name, fmt.Sprintf("key-%d", i)))
	}
	program.WaitUntil(t, timeout, "Ready keys", func() error {
		list := &keysv1alpha1.ApiKeyList{}
		if err := b.Client.List(t.Context(), list, client.InNamespace(namespace.Name)); err != nil {
			return err
		}
		ready := 0
		for i := range list.Items {
			if apimeta.IsStatusConditionTrue(list.Items[i].Status.Conditions, keysv1alpha1.ConditionReady) {
				ready++
			}
		}
		if ready < count {
			return fmt.Errorf("%d of %d", ready, count)
		}
		return nil
	})
	return namespace
}

func (b *testbed) gone(ctx context.Context, object client.Object) func() error {
	return func() error {
		err := b.Client.Get(ctx, client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there: %w", err)
	}
}

// TestDeletion checks that a deleted key's Secret is collected and its place becomes free, that a namespace with 50
// keys is deleted while no controller runs (L3), and another one while one runs, and that a key with the name of a
// deleted one has another token (S9).
func TestDeletion(t *testing.T) {
	b := newTestbed(t)
	controller := b.startController(t)
	namespace := b.mint(t, 50)

	key := &keysv1alpha1.ApiKey{}
	key.Namespace, key.Name = namespace.Name, "key-0"
	b.Get(t, key)
	first := key.Status.Credentials[0].Digest
	b.Delete(t, key)
	again := fixture.ApiKey(namespace.Name, "key-0")
	b.Mint(t, again)
	if again.Status.Credentials[0].Digest == first {
		t.Error("the successor has its predecessor's token")
	}
	b.Delete(t, again)
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = namespace.Name, "key-0"
	program.WaitUntil(t, timeout, "the collection of the key's Secret", b.gone(t.Context(), secret))
	program.WaitUntil(t, timeout, "the freeing of the key's place", func() error {
		tenants := &keysv1alpha1.TenantList{}
		if err := b.Client.List(t.Context(), tenants); err != nil {
			return err
		}
		if keys := tenants.Items[0].Status.Keys; keys != "49/500" {
			return fmt.Errorf("%s places are taken", keys)
		}
		return nil
	})

	b.deleteQuietly(t, controller)
	controller.Kill()
	b.Delete(t, namespace)
	program.WaitUntil(t, timeout, "the deletion of the namespace", b.gone(t.Context(), namespace))
}

// deleteQuietly deletes a namespace with keys while the controller runs. Secrets go before their keys, and can't be
// restored: the controller has nothing to complain of.
func (b *testbed) deleteQuietly(t *testing.T, controller *install.Controller) {
	t.Helper()
	namespace := b.mint(t, 30)
	before := len(controller.Log())
	b.Delete(t, namespace)
	program.WaitUntil(t, timeout, "the deletion of the namespace", b.gone(t.Context(), namespace))
	for line := range strings.Lines(controller.Log()[before:]) {
		for _, complaint := range []string{"rror", "being terminated", "rejected event"} {
			if strings.Contains(line, complaint) {
				t.Errorf("the controller logs, while a namespace is deleted: %s", line)
				break
			}
		}
	}
}

// TestIdle (L4) restarts the controller among many keys and leaves it alone: for five minutes and with 1,000 keys where
// the effort is full. It has nothing to write.
func TestIdle(t *testing.T) {
	const tenants = 2
	keys, length := effort.Pick(20, 100, 500), effort.Pick(10*time.Second, 45*time.Second, 5*time.Minute)
	b := newTestbed(t)
	controller := b.startController(t)
	for range tenants {
		b.mint(t, keys)
	}
	controller.Kill() // The next one has nothing but the objects to see that nothing is to be done.
	b.mu.Lock()
	b.writes = nil
	b.mu.Unlock()
	controller = b.startController(t)
	select {
	case <-controller.Exited():
		t.Fatalf("the controller ended:\n%s", controller.Log())
	case <-time.After(length):
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.writes) > 0 {
		slices.Sort(b.writes)
		t.Errorf("%d writes in %s, when nothing changed: %s …", len(b.writes), length,
			strings.Join(b.writes[:min(len(b.writes), 5)], ", "))
	}
}
