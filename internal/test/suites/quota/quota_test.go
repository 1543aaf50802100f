// Package quota lets two controllers mint keys of one tenant at the same time.
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
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/effort"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

const (
	created = 100
	maxKeys = 20
	timeout = 2 * time.Minute
)

// TestNeverMoreThanMaxKeys (S3) creates 100 keys at once for a tenant that may have 20, with two controllers that both
// believe to lead, 20 times in full. It fails if the controller writes the ledger without the resourceVersion that it
// has read.
func TestNeverMoreThanMaxKeys(t *testing.T) {
	i := install.New(t, install.Options{
		Manifests: []string{"rbac"}, Objects: []client.Object{fixture.Policy("nexuscommerce")},
	})
	for range 2 {
		i.StartController(t, install.ControllerOptions{})
	}
	for n := range effort.Pick(1, 4, 20) {
		t.Run(fmt.Sprintf("tenant %d", n+1), func(t *testing.T) { fillQuota(t, i) })
	}
}

// fillQuota creates keys of a tenant of its own, all at once, and counts those that are active until each is Ready or
// refused.
func fillQuota(t *testing.T, i *install.Installation) {
	tenant, namespace := i.NewTenant(t)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	states, err := i.Follow(ctx, namespace.Name)
	if err != nil {
		t.Fatal(err)
	}

	var creating sync.WaitGroup
	for n := range created {
		creating.Go(func() {
			if err := i.Client.Create(ctx, fixture.ApiKey(namespace.Name, fmt.Sprintf("key-%d", n))); err != nil {
				t.Error(err)
			}
		})
	}
	creating.Wait()

	active, ready, refused := map[types.UID]bool{}, map[types.UID]bool{}, map[types.UID]bool{}
	for len(ready) < maxKeys || len(ready)+len(refused) < created {
		key, ok := <-states
		if !ok {
			t.Fatalf("after %s, %d keys are ready and %d refused", timeout, len(ready), len(refused))
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
	i.Get(t, tenant)
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
