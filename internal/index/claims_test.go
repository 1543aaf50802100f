package index_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// newKey returns an active ApiKey with one credential, of the n-th digest.
func newKey(namespace, name string, digest int, root int32) *keysv1alpha1.ApiKey {
	made := metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	return &keysv1alpha1.ApiKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: made},
		Spec: keysv1alpha1.ApiKeySpec{
			State: keysv1alpha1.ApiKeyActive, Scopes: []keysv1alpha1.Scope{"products:read", "orders:*"},
		},
		Status: keysv1alpha1.ApiKeyStatus{
			TenantID: "3714240B-2e06-4c35-8856-ccc1c096323e",
			Scopes:   []keysv1alpha1.Scope{"products:read", "orders:read", "pricing:read"}, IssuedTime: &made,
			Credentials: []keysv1alpha1.Credential{{
				ID: "7Hk2PqZx", Digest: "sha256:" + fmt.Sprintf("%064x", digest), Root: root, IssuedTime: made,
			}},
		},
	}
}

func TestClaimsOf(t *testing.T) {
	key := newKey("shop", "a", 1, 1)
	claim := index.ClaimsOf(key)[0]
	if claim.Name != "shop/a" || claim.CredentialID != "7Hk2PqZx" ||
		claim.Tenant.String() != strings.ToLower(key.Status.TenantID) || !claim.Minted {
		t.Errorf("%+v", claim)
	}
	if claim.ScopesHeader != "products:read orders:read" {
		t.Errorf("scopes %q", claim.ScopesHeader)
	}
	key.Status.TenantID = "acme"
	if claims := index.ClaimsOf(key); claims != nil {
		t.Errorf("claims %v for an unreadable tenant ID, want none", claims)
	}
}

// TestStateOfEachRefusal checks that the index refuses a key for every refusal of keystate.
func TestStateOfEachRefusal(t *testing.T) {
	condition := func(conditionType, reason string) func(*keysv1alpha1.ApiKey) {
		return func(k *keysv1alpha1.ApiKey) {
			k.Status.Conditions = []metav1.Condition{{Type: conditionType, Status: metav1.ConditionTrue, Reason: reason}}
		}
	}
	for refusal, test := range map[keystate.Refusal]struct {
		change func(*keysv1alpha1.ApiKey)
		want   index.State
	}{
		keystate.NotRefused: {func(*keysv1alpha1.ApiKey) {}, index.StateActive},
		keystate.RefusedRevoked: {func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked },
			index.StateRevoked},
		keystate.RefusedDeleting: {func(k *keysv1alpha1.ApiKey) {
			k.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
		}, index.StateDeleting},
		keystate.RefusedSuspended: {func(k *keysv1alpha1.ApiKey) { k.Spec.State = "Blocked" }, index.StateSuspended},
		keystate.RefusedExpired:   {condition(keysv1alpha1.ConditionExpired, keysv1alpha1.ReasonExpired), index.StateExpired},
		keystate.RefusedWithdrawn: {condition(keysv1alpha1.ConditionAdmitted, keysv1alpha1.ReasonTenantChanged),
			index.StateWithdrawn},
	} {
		key := newKey("shop", "a", 1, 1)
		test.change(key)
		if got := keystate.RefusalOf(key); got != refusal {
			t.Fatalf("refusal %d, want %d", got, refusal)
		}
		if got := index.ClaimsOf(key)[0].State; got != test.want {
			t.Errorf("refusal %d has the state %d, want %d", refusal, got, test.want)
		}
	}
}

func TestNotAfter(t *testing.T) {
	far, near := time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		expires *metav1.Time
		want    int64
	}{
		"never":                      {nil, index.Never},
		"soon":                       {&metav1.Time{Time: near}, near.UnixNano()},
		"after the last instant":     {&metav1.Time{Time: far}, index.Never},
		"before the first instant":   {&metav1.Time{}, math.MinInt64},
		"long ago, but within range": {&metav1.Time{Time: time.Unix(-1, 0)}, -1e9},
	} {
		key := newKey("shop", "a", 1, 1)
		key.Status.ExpiresTime = test.expires
		if got := index.ClaimsOf(key)[0].NotAfter; got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

// TestTheOrderOfClaimsIsThatOfKeystate checks that, of two keys of a tenant with the same digest, the one that holds
// the digest in the index is the one that does for the controller, according to keystate.Precedes.
func TestTheOrderOfClaimsIsThatOfKeystate(t *testing.T) {
	older := func(k *keysv1alpha1.ApiKey) *keysv1alpha1.ApiKey {
		k.CreationTimestamp = metav1.NewTime(k.CreationTimestamp.Add(-time.Second))
		return k
	}
	all := []*keysv1alpha1.ApiKey{
		newKey("a", "x", 1, 0), newKey("a-b", "x", 1, 0), newKey("a", "y", 1, 0), newKey("b", "a", 1, 1),
		older(newKey("z", "z", 1, 0)), older(newKey("c", "a", 1, 2)),
	}
	for _, a := range all {
		for _, b := range all {
			if a == b {
				continue
			}
			view := index.NewView()
			for _, key := range []*keysv1alpha1.ApiKey{a, b} {
				view.Credentials.Put(key.Namespace+"/"+key.Name, index.ClaimsOf(key))
			}
			first := a
			if keystate.Precedes(b, a) {
				first = b
			}
			claim := index.ClaimsOf(a)[0]
			var holder index.Grant
			view.Credentials.Lookup(&claim.Digest, &claim.Tenant, &holder)
			if holder.Name != first.Namespace+"/"+first.Name {
				t.Errorf("in the index %s holds the digest, for the controller %s/%s does",
					holder.Name, first.Namespace, first.Name)
			}
		}
	}
}
