package quota

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/status"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
	"github.com/nexuscommerce/apikey-operator/internal/ledger"
	"github.com/nexuscommerce/apikey-operator/internal/tenancy"
)

const (
	// maxWaiting is how many keys of a namespace wait at a time. The others are reconciled every now and then.
	maxWaiting = 100
	// waitingInterval is the time after which a key that waits is reconciled even if nothing is known to have changed.
	waitingInterval = 10 * time.Minute
)

// beyond ends the message of a key beyond maxWaiting.
var beyond = fmt.Sprintf(" %d older keys of its namespace wait for a place already, so this one does not: "+
	"it is looked at every %d minutes.", maxWaiting, int(waitingInterval.Minutes()))

// Waits reports whether a key waits for a place, and is reconciled when one may be free. A key that is being deleted
// does not.
func Waits(key *keysv1alpha1.ApiKey) bool {
	if key.DeletionTimestamp != nil {
		return false
	}
	outcome := keystate.Outcome(key.Status.Conditions)
	if outcome == nil || outcome.Reason != keysv1alpha1.ReasonQuotaExceeded {
		return false
	}
	ready := apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionReady)
	return ready != nil && !strings.HasSuffix(ready.Message, beyond)
}

// full is the result for a key that finds no place.
func (s *Reserve) full(ctx context.Context, key *keysv1alpha1.ApiKey, full *ledger.FullError) lifecycle.Result {
	message := sentence(full)
	if countOlder(key, s.queue.Keys.Waiting(ctx, key.Namespace)) >= maxWaiting {
		message += beyond
	}
	return lifecycle.Result{
		Outcome:      status.Stalled(keysv1alpha1.ReasonQuotaExceeded, message),
		RequeueAfter: waitingInterval,
	}
}

// countOlder returns how many keys are older than one.
func countOlder(key *keysv1alpha1.ApiKey, keys []*keysv1alpha1.ApiKey) (count int) {
	for _, other := range keys {
		if other.UID != key.UID && keystate.CompareAge(other, key) < 0 {
			count++
		}
	}
	return count
}

// Keys finds keys in the cache.
type Keys interface {
	// WaitingNamespaces returns the namespaces that have keys which wait for a place.
	WaitingNamespaces(ctx context.Context) []string
	// Waiting returns the keys of a namespace that wait for a place. Nobody may change them.
	Waiting(ctx context.Context, namespace string) []*keysv1alpha1.ApiKey
}

// Queue finds the keys that wait for a place in a tenant's ledger.
type Queue struct {
	// Client reads from the cache.
	Client client.Reader
	Keys   Keys
}

// Of returns the keys of a tenant that wait for a place, the oldest first. They are the cache's own, so nobody may
// change them.
func (q *Queue) Of(ctx context.Context, tenant *keysv1alpha1.Tenant) (waiting []*keysv1alpha1.ApiKey) {
	for _, name := range q.Keys.WaitingNamespaces(ctx) {
		namespace := &corev1.Namespace{}
		if err := q.Client.Get(ctx, types.NamespacedName{Name: name}, namespace, client.UnsafeDisableDeepCopy); err != nil {
			continue // It is gone, and its keys with it.
		}
		if len(tenancy.Of(namespace.Labels, []keysv1alpha1.Tenant{*tenant})) > 0 {
			waiting = append(waiting, q.Keys.Waiting(ctx, name)...)
		}
	}
	slices.SortFunc(waiting, func(a, b *keysv1alpha1.ApiKey) int { return keystate.CompareAge(a, b) })
	return waiting
}

// ahead returns how many keys come before one: those that wait, are older and have no place yet. The keys that wait are
// sorted by age.
func ahead(key *keysv1alpha1.ApiKey, waiting []*keysv1alpha1.ApiKey, tenant *keysv1alpha1.Tenant) (count int) {
	if len(tenant.Status.ActiveKeys)+len(waiting) < ledger.Max(tenant) {
		return 0 // There is room for all of them.
	}
	for _, other := range waiting {
		if keystate.CompareAge(other, key) >= 0 {
			break
		}
		if !ledger.Holds(tenant, string(other.UID)) {
			count++
		}
	}
	return count
}
