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

const patience = 3 * time.Minute

// lab is a cluster with kube-controller-manager, and a controller whose writes are seen.
type lab struct {
	cp     *controlplane.ControlPlane
	binary string
	proxy  *apiproxy.Proxy

	mu     sync.Mutex
	writes []string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	cp := install.ControlPlane(t, controlplane.Options{ControllerManager: true}, "rbac")
	l := &lab{cp: cp, binary: program.Build(t, "./cmd/controller")}
	l.proxy = apiproxy.New(t, cp.ServiceAccountConfig("apikey-controller"), func(r *http.Request) apiproxy.Interference {
		if strings.HasPrefix(r.URL.Path, "/apis/authorization.k8s.io/") {
			return apiproxy.Interference{} // A question, which is a POST for want of a body in a GET. Nothing is stored.
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.writes = append(l.writes, r.Method+" "+r.URL.Path)
		return apiproxy.Interference{}
	})
	l.create(t, fixture.Policy("nexuscommerce"))
	return l
}

func (l *lab) startController(t *testing.T) *program.Process {
	t.Helper()
	return program.Start(t, l.binary, "--kubeconfig="+l.proxy.Kubeconfig(t), "--leader-elect=false",
		"--metrics-bind-address=0", "--health-probe-bind-address=0")
}

func (l *lab) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := l.cp.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// mint creates keys in a namespace of a tenant of its own and waits until all are Ready.
func (l *lab) mint(t *testing.T, count int) *corev1.Namespace {
	t.Helper()
	name := fixture.Name("tenant")
	namespace := fixture.Namespace(fixture.Name("ns"), name)
	limit := int32(500)
	l.create(t, fixture.Tenant(name, func(tenant *keysv1alpha1.Tenant) { tenant.Spec.MaxKeys = &limit }), namespace)
	for i := range count {
		l.create(t, fixture.ApiKey(namespace.Name, fmt.Sprintf("key-%d", i)))
	}
	program.WaitUntil(t, patience, "Ready keys", func() error {
		list := &keysv1alpha1.ApiKeyList{}
		if err := l.cp.Client.List(t.Context(), list, client.InNamespace(namespace.Name)); err != nil {
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

func (l *lab) gone(ctx context.Context, object client.Object) func() error {
	return func() error {
		err := l.cp.Client.Get(ctx, client.ObjectKeyFromObject(object), object)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there: %w", err)
	}
}

// TestDeletion has a key's Secret collected, its place freed, a namespace with 50 keys deleted while no controller runs
// (L3), and a key made again under the name of one that is gone (S9).
func TestDeletion(t *testing.T) {
	l := newLab(t)
	controller := l.startController(t)
	namespace := l.mint(t, 50)

	key := &keysv1alpha1.ApiKey{}
	if err := l.cp.Client.Get(t.Context(), client.ObjectKey{Namespace: namespace.Name, Name: "key-0"}, key); err != nil {
		t.Fatal(err)
	}
	first := key.Status.Credentials[0].Digest
	if err := l.cp.Client.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	again := fixture.ApiKey(namespace.Name, "key-0")
	l.create(t, again)
	program.WaitUntil(t, patience, "a Ready successor", func() error {
		if err := l.cp.Client.Get(t.Context(), client.ObjectKeyFromObject(again), again); err != nil {
			return err
		}
		if !apimeta.IsStatusConditionTrue(again.Status.Conditions, keysv1alpha1.ConditionReady) {
			return fmt.Errorf("conditions %v", again.Status.Conditions)
		}
		return nil
	})
	if again.Status.Credentials[0].Digest == first {
		t.Error("the successor has its predecessor's token")
	}
	if err := l.cp.Client.Delete(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = namespace.Name, "key-0"
	program.WaitUntil(t, patience, "the collection of the key's Secret", l.gone(t.Context(), secret))
	program.WaitUntil(t, patience, "the freeing of the key's place", func() error {
		tenants := &keysv1alpha1.TenantList{}
		if err := l.cp.Client.List(t.Context(), tenants); err != nil {
			return err
		}
		if keys := tenants.Items[0].Status.Keys; keys != "49/500" {
			return fmt.Errorf("%s places are taken", keys)
		}
		return nil
	})

	controller.Kill()
	if err := l.cp.Client.Delete(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	program.WaitUntil(t, patience, "the deletion of the namespace", l.gone(t.Context(), namespace))
}

// TestIdle (L4) restarts the controller among many keys and leaves it alone: for five minutes and with 1,000 keys where
// the effort is full. It has nothing to write.
func TestIdle(t *testing.T) {
	const tenants = 2
	keys, length := effort.Pick(20, 100, 500), effort.Pick(10*time.Second, 45*time.Second, 5*time.Minute)
	l := newLab(t)
	controller := l.startController(t)
	for range tenants {
		l.mint(t, keys)
	}
	controller.Kill() // Its successor has to find that all is well from the objects alone.
	l.mu.Lock()
	l.writes = nil
	l.mu.Unlock()
	controller = l.startController(t)
	select {
	case <-controller.Exited():
		t.Fatalf("the controller ended:\n%s", controller.Log())
	case <-time.After(length):
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.writes) > 0 {
		slices.Sort(l.writes)
		t.Errorf("%d writes in %s, when nothing changed: %s …", len(l.writes), length,
			strings.Join(l.writes[:min(len(l.writes), 5)], ", "))
	}
}
