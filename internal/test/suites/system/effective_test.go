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
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// TestNothingPassesOnceARevocationIsEffective revokes keys one after another, each while the verifier is asked about it
// all the time (S1). A request that is sent after a watch has shown RevocationEffective=True must be refused.
func TestNothingPassesOnceARevocationIsEffective(t *testing.T) {
	i := newInstallationWithPolicy(t)
	const keys, clients = 5, 4
	for range keys {
		key, token := i.NewKey(t)
		question := install.Question{Token: token, TenantID: key.Status.TenantID}
		i.Verifier.AwaitAnswer(t, question, http.StatusOK, "")
		ctx, cancel := context.WithCancel(t.Context())
		states, err := i.Follow(ctx, key.Namespace)
		if err != nil {
			t.Fatal(err)
		}
		var effective atomic.Bool
		var late, refused atomic.Int64
		var group sync.WaitGroup
		for range clients {
			group.Go(func() {
				for after := 0; after < 20 && ctx.Err() == nil; {
					over := effective.Load() // Before it is asked.
					answer, err := i.Verifier.Ask(ctx, question)
					if !over || err != nil {
						continue
					}
					after++
					if answer.Status == http.StatusUnauthorized {
						refused.Add(1)
					} else {
						late.Add(1)
					}
				}
			})
		}
		i.Revoke(t, key)
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
		if late.Load() != 0 || refused.Load() != 20*clients {
			t.Errorf("%d refused, and %d not, that were asked once the revocation was effective", refused.Load(), late.Load())
		}
	}
}
