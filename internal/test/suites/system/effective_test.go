package system_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// TestNothingPassesOnceARevocationIsEffective revokes keys one after another, each while it is asked about all the time (S1).
// What is asked after a watch has shown RevocationEffective=True must be refused.
func TestNothingPassesOnceARevocationIsEffective(t *testing.T) {
	i := newInstallation(t)
	if err := i.cp.Client.Create(t.Context(), fixture.Policy("nexuscommerce")); err != nil {
		t.Fatal(err)
	}
	const rounds, askers = 5, 4
	for range rounds {
		key := i.mint(t)
		tok, tenantID := i.tokenOf(t, key), key.Status.TenantID
		i.eventually(t, tok, tenantID, "GET", "/api/products", http.StatusOK)
		ctx, cancel := context.WithCancel(t.Context())
		states, err := i.cp.Follow(ctx, key.Namespace)
		if err != nil {
			t.Fatal(err)
		}
		var effective atomic.Bool
		var late, refused atomic.Int64
		var group sync.WaitGroup
		for range askers {
			group.Go(func() {
				for after := 0; after < 20 && ctx.Err() == nil; {
					over := effective.Load() // Before it is asked.
					a, err := i.ask(ctx, tok, tenantID, "GET", "/api/products")
					if !over || err != nil {
						continue
					}
					after++
					if a.status == http.StatusUnauthorized {
						refused.Add(1)
					} else {
						late.Add(1)
					}
				}
			})
		}
		update(t, i, key, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		for state := range states {
			condition := apimeta.FindStatusCondition(state.Status.Conditions, keysv1alpha1.ConditionRevocationEffective)
			if condition != nil && condition.Status == "True" {
				effective.Store(true)
				if !strings.HasPrefix(condition.Message, "1 verifier refuses the key, known ") {
					t.Errorf("it says %q", condition.Message)
				}
				break
			}
		}
		group.Wait()
		cancel()
		if late.Load() != 0 || refused.Load() != 20*askers {
			t.Errorf("%d refused, and %d not, that were asked once the revocation was effective", refused.Load(), late.Load())
		}
	}
}
