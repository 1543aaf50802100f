// Package quota has two controllers mint keys of one tenant at the same time.
package quota_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/effort"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const (
	created  = 100
	maxKeys  = 20
	patience = 2 * time.Minute
)

// TestNeverMoreThanMaxKeys (S3) creates 100 keys at once for a tenant that may have 20, with two controllers that both
// believe to lead, 20 times in full. It fails when reserve.run writes the ledger without the resourceVersion that it
// has read.
func TestNeverMoreThanMaxKeys(t *testing.T) {
	cp := install.ControlPlane(t, controlplane.Options{}, "rbac")
	create(t, cp.Client, fixture.Policy("nexuscommerce"))
	binary := program.Build(t, "./cmd/controller")
	for range 2 {
		install.StartController(t, cp, binary)
	}
	for n := range effort.Pick(1, 4, 20) {
		t.Run(fmt.Sprintf("round %d", n+1), func(t *testing.T) { round(t, cp) })
	}
}

func round(t *testing.T, cp *controlplane.ControlPlane) {
	c, name := cp.Client, fixture.Name("tenant")
	tenant, namespace := fixture.Tenant(name), fixture.Namespace(fixture.Name("ns"), name)
	create(t, c, tenant, namespace)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	states, err := cp.Follow(ctx, namespace.Name)
	if err != nil {
		t.Fatal(err)
	}

	var creating sync.WaitGroup
	for i := range created {
		creating.Go(func() {
			if err := c.Create(ctx, fixture.ApiKey(namespace.Name, fmt.Sprintf("key-%d", i))); err != nil {
				t.Error(err)
			}
		})
	}
	creating.Wait()

	active, ready, refused := map[types.UID]bool{}, map[types.UID]bool{}, map[types.UID]bool{}
	for len(ready) < maxKeys || len(ready)+len(refused) < created {
		key, ok := <-states
		if !ok {
			t.Fatalf("after %s, %d keys are ready and %d refused", patience, len(ready), len(refused))
		}
		if len(key.Status.Credentials) > 0 {
			active[key.UID] = true
		}
		if len(active) > maxKeys {
			t.Fatalf("%d active keys", len(active))
		}
		condition := apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionReady)
		set(ready, key.UID, condition != nil && condition.Reason == keysv1alpha1.ReasonReady)
		set(refused, key.UID, condition != nil && condition.Reason == keysv1alpha1.ReasonQuotaExceeded)
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(tenant), tenant); err != nil {
		t.Fatal(err)
	}
	if len(active) != maxKeys || len(tenant.Status.ActiveKeys) != maxKeys {
		t.Errorf("%d active keys and %d places taken, want %d", len(active), len(tenant.Status.ActiveKeys), maxKeys)
	}
}

func set(m map[types.UID]bool, uid types.UID, in bool) {
	if in {
		m[uid] = true
		return
	}
	delete(m, uid)
}

func create(t *testing.T, c client.Client, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := c.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}
