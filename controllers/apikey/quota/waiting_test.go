package quota

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/ledger"
)

// waitingKey returns the nth key of a namespace that waits for a place. A key is older than those with a higher number.
func waitingKey(n int) *keysv1alpha1.ApiKey {
	key := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{
		Namespace: "acme-a", Name: fmt.Sprintf("key-%03d", n), UID: types.UID(fmt.Sprint(n)),
		CreationTimestamp: metav1.NewTime(time.Date(2026, 1, 1, 0, n, 0, 0, time.UTC)),
	}}
	key.Status.Conditions = quotaExceeded("Tenant acme has 20 of at most 20 active keys.")
	return key
}

// queueOf is a cache with keys that wait for a place.
type queueOf []*keysv1alpha1.ApiKey

// WaitingNamespaces implements Keys.
func (q queueOf) WaitingNamespaces(context.Context) (names []string) {
	for _, key := range q {
		if !slices.Contains(names, key.Namespace) {
			names = append(names, key.Namespace)
		}
	}
	return names
}

// Waiting implements Keys.
func (q queueOf) Waiting(_ context.Context, namespace string) (keys []*keysv1alpha1.ApiKey) {
	for _, key := range q {
		if key.Namespace == namespace && Waits(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

func quotaExceeded(message string) []metav1.Condition {
	return []metav1.Condition{{
		Type: keysv1alpha1.ConditionReady, Status: metav1.ConditionFalse,
		Reason: keysv1alpha1.ReasonQuotaExceeded, Message: message,
	}}
}

// TestNumberOfWaitingKeysIsLimited checks that a key beyond the limit has a message that says so, does not wait, and is
// reconciled again.
func TestNumberOfWaitingKeysIsLimited(t *testing.T) {
	var queue []*keysv1alpha1.ApiKey
	for n := range maxWaiting {
		queue = append(queue, waitingKey(n))
	}
	last, other := waitingKey(maxWaiting), waitingKey(maxWaiting)
	other.Namespace = "acme-b"
	s := &Reserve{queue: &Queue{Keys: queueOf(queue)}}
	full := &ledger.FullError{Tenant: "acme", Active: 20, Max: 20}
	r := s.full(t.Context(), other, full)
	if strings.HasSuffix(r.Outcome.Message, beyond) || r.RequeueAfter != waitingInterval {
		t.Errorf("%s, reconciled after %s", r.Outcome.Message, r.RequeueAfter)
	}
	r = s.full(t.Context(), last, full)
	if r.Outcome.Reason != keysv1alpha1.ReasonQuotaExceeded || !strings.HasSuffix(r.Outcome.Message, beyond) ||
		r.RequeueAfter != waitingInterval {
		t.Errorf("%s: %s, reconciled after %s", r.Outcome.Reason, r.Outcome.Message, r.RequeueAfter)
	}
	last.Status.Conditions = quotaExceeded(r.Outcome.Message)
	if Waits(last) {
		t.Error("it waits nevertheless")
	}
	oldest := waitingKey(-1)
	if r := s.full(t.Context(), oldest, full); strings.HasSuffix(r.Outcome.Message, beyond) {
		t.Error("the oldest does not wait because younger keys do")
	}
	s.queue.Keys = queueOf(queue[1:])
	if r := s.full(t.Context(), last, full); strings.HasSuffix(r.Outcome.Message, beyond) {
		t.Error("it does not wait although there is room")
	}
}

// TestNoKeyOvertakesOlderOnes checks which keys take the places of a tenant that is full but for some: each only if
// there is a place for every older key that waits and has none.
func TestNoKeyOvertakesOlderOnes(t *testing.T) {
	const places = 3
	waiting := []*keysv1alpha1.ApiKey{waitingKey(1), waitingKey(2), waitingKey(3)}
	for name, test := range map[string]struct {
		held []string
		asks int
		want bool
	}{
		"the oldest, for the last place":                      {[]string{"x", "y"}, 1, true},
		"a younger one, for the last place":                   {[]string{"x", "y"}, 2, false},
		"the second, for one of two places":                   {[]string{"x"}, 2, true},
		"the third, for one of two places":                    {[]string{"x"}, 3, false},
		"a new one, for one of two places":                    {[]string{"x"}, 4, false},
		"the youngest that waits, if there is room for all":   {nil, 3, true},
		"a new one, if those that wait take all places":       {nil, 4, false},
		"the third, if those before have their places":        {[]string{"1", "2"}, 3, true},
		"an older one than those that wait, for the last one": {[]string{"x", "y"}, 0, true},
		"the oldest, if there is no place":                    {[]string{"x", "y", "z"}, 1, false},
	} {
		tenant := &keysv1alpha1.Tenant{Spec: keysv1alpha1.TenantSpec{MaxKeys: new(int32(places))}}
		for _, uid := range test.held {
			tenant.Status.ActiveKeys = append(tenant.Status.ActiveKeys, keysv1alpha1.ActiveKey{UID: uid})
		}
		key := waitingKey(test.asks)
		r := &reservation{key: key, place: keysv1alpha1.ActiveKey{UID: string(key.UID)}}
		changed := takePlaces(tenant, []*reservation{r}, waiting)
		if changed != test.want || (r.err == nil) != test.want || ledger.Holds(tenant, string(key.UID)) != test.want {
			t.Errorf("%s: it took a place: %t, %v", name, changed, r.err)
		}
	}
}

// TestMessageNamesNoKeys checks that the message of a key that waits has no names of keys, and does not depend on which
// keys hold the places.
func TestMessageNamesNoKeys(t *testing.T) {
	tenant := &keysv1alpha1.Tenant{
		ObjectMeta: metav1.ObjectMeta{Name: "acme"}, Spec: keysv1alpha1.TenantSpec{MaxKeys: new(int32(1))},
	}
	messages := map[string]bool{}
	for _, holder := range []string{"secret-project", "another"} {
		tenant.Status.ActiveKeys = []keysv1alpha1.ActiveKey{{UID: holder, Namespace: holder, Name: holder}}
		_, err := ledger.Reserve(tenant, keysv1alpha1.ActiveKey{UID: "mine"}, false, 0)
		if err == nil || strings.Contains(err.Error(), holder) {
			t.Errorf("%v", err)
		}
		messages[fmt.Sprint(err)] = true
	}
	if len(messages) != 1 {
		t.Errorf("%v", messages)
	}
}
