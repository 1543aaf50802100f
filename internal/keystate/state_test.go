package keystate_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

func TestStateOf(t *testing.T) {
	newGeneration := func(k *keysv1alpha1.ApiKey) { k.Generation++ }
	for name, test := range map[string]struct {
		change keyChange
		state  keystate.State
		// says is the type of the condition that says so.
		says string
	}{
		"works": {unchanged, keystate.StateActive, "Ready"},
		"its end is near": {conditions(condition("Ready", "True", "Ready"),
			condition("Expired", "False", "ExpiringSoon")), keystate.StateExpiring, "Expired"},
		"just created": {func(k *keysv1alpha1.ApiKey) {
			k.Status = keysv1alpha1.ApiKeyStatus{ObservedGeneration: -1}
		}, keystate.StateWaiting, ""},
		"changed just now": {newGeneration, keystate.StateWaiting, ""},
		"announced": {conditions(condition("Ready", "Unknown", "Announced"),
			condition("Reconciling", "True", "Announced")), keystate.StateWaiting, "Ready"},
		"stalled": {conditions(condition("Ready", "False", "QuotaExceeded"),
			condition("Stalled", "True", "QuotaExceeded")), keystate.StateFailed, "Stalled"},
		"stalled until a change": {allOf(conditions(condition("Stalled", "True", "UnknownScope")), newGeneration),
			keystate.StateWaiting, ""},
		"tenant suspended": {conditions(condition("Ready", "False", "TenantSuspended"),
			condition("Stalled", "True", "TenantSuspended")), keystate.StateFailed, "Stalled"},
		"suspended by spec": {allOf(inState(keysv1alpha1.ApiKeySuspended), newGeneration), keystate.StateSuspended, ""},
		"suspended, and seen": {allOf(inState(keysv1alpha1.ApiKeySuspended),
			conditions(condition("Suspended", "True", "Suspended"))), keystate.StateSuspended, "Suspended"},
		"an unknown state":      {inState("Blocked"), keystate.StateSuspended, ""},
		"no state":              {inState(""), keystate.StateSuspended, ""},
		"revoked by spec alone": {allOf(inState(keysv1alpha1.ApiKeyRevoked), newGeneration), keystate.StateRevoking, ""},
		"revoked by status alone": {conditions(condition("Revoked", "True", "Revoked"),
			condition("RevocationEffective", "False", "WaitingForVerifiers")),
			keystate.StateRevoking, "RevocationEffective"},
		"revoked, and known everywhere": {conditions(condition("Revoked", "True", "Revoked"),
			condition("RevocationEffective", "True", "Revoked")),
			keystate.StateRevoked, "RevocationEffective"},
		"effective, but not revoked": {conditions(condition("RevocationEffective", "True", "Revoked"),
			condition("Ready", "True", "Ready")), keystate.StateActive, "Ready"},
		"revoked after its expiry": {allOf(inState(keysv1alpha1.ApiKeyRevoked),
			conditions(condition("Expired", "True", "Expired"))), keystate.StateRevoking, ""},
		"expired by condition": {conditions(condition("Expired", "True", "Expired")),
			keystate.StateExpired, "Expired"},
		"expired by the clock": {func(k *keysv1alpha1.ApiKey) { k.Status.ExpiresTime = at(0) },
			keystate.StateExpired, "Expired"},
		"expired by what is asked for": {func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "5d" },
			keystate.StateExpired, "Expired"},
		"expires in a moment": {func(k *keysv1alpha1.ApiKey) { k.Status.ExpiresTime = at(1) },
			keystate.StateActive, "Ready"},
		"suspended, and its expiry too": {allOf(inState(keysv1alpha1.ApiKeySuspended),
			func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "5d" }), keystate.StateExpired, "Expired"},
		"being deleted":             {deleting, keystate.StateDeleting, ""},
		"revoked and being deleted": {allOf(inState(keysv1alpha1.ApiKeyRevoked), deleting), keystate.StateDeleting, ""},
	} {
		state, says := keystate.StateOf(working(test.change), now)
		if state != test.state || says == nil && test.says != "" || says != nil && says.Type != test.says {
			t.Errorf("%s: %s by %v, want %s by condition %q", name, state, says, test.state, test.says)
		}
	}
}

func TestOutcome(t *testing.T) {
	for name, test := range map[string]struct {
		conditions []metav1.Condition
		want       string
	}{
		"nothing was said": {nil, ""},
		"works":            {working().Status.Conditions, "Ready"},
		"waits": {[]metav1.Condition{condition("Ready", "Unknown", "Announced"),
			condition("Reconciling", "True", "Announced")}, "Ready"},
		"stalled": {[]metav1.Condition{condition("Ready", "False", "NoTenant"),
			condition("Stalled", "True", "NoTenant")}, "Stalled"},
		"suspended": {[]metav1.Condition{condition("Suspended", "True", "Suspended"),
			condition("Stalled", "True", "NoTenant")}, "Suspended"},
		"expired": {[]metav1.Condition{condition("Suspended", "True", "Suspended"),
			condition("Expired", "True", "Expired")}, "Expired"},
		"revoked": {[]metav1.Condition{condition("Expired", "True", "Expired"),
			condition("Revoked", "True", "Revoked")}, "Revoked"},
		"not revoked any more?": {[]metav1.Condition{condition("Revoked", "Unknown", "Revoked"),
			condition("Ready", "True", "Ready")}, "Ready"},
	} {
		got := keystate.Outcome(test.conditions)
		if got == nil && test.want != "" || got != nil && got.Type != test.want {
			t.Errorf("%s: %v, want %q", name, got, test.want)
		}
	}
}

func TestFinished(t *testing.T) {
	refused := func(k *keysv1alpha1.ApiKey) {
		conditions(condition("Admitted", "False", "NoTenant"))(k)
		k.Status.Credentials = nil
	}
	for name, test := range map[string]struct {
		change keyChange
		want   bool
	}{
		"works":                          {unchanged, false},
		"suspended":                      {inState(keysv1alpha1.ApiKeySuspended), false},
		"revoked by spec":                {inState(keysv1alpha1.ApiKeyRevoked), true},
		"revoked by status":              {conditions(condition("Revoked", "True", "Revoked")), true},
		"recorded as expired":            {conditions(condition("Expired", "True", "Expired")), true},
		"expired by the clock alone":     {func(k *keysv1alpha1.ApiKey) { k.Status.ExpiresTime = at(-day) }, false},
		"refused before its issue":       {refused, true},
		"refused since":                  {conditions(condition("Admitted", "False", "NoTenant")), false},
		"not looked at":                  {func(k *keysv1alpha1.ApiKey) { k.Status = keysv1alpha1.ApiKeyStatus{} }, false},
		"being deleted, and not yet not": {deleting, false},
	} {
		if got := keystate.Finished(working(test.change)); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestTenantClaimOf(t *testing.T) {
	for name, test := range map[string]struct {
		change    func(*keysv1alpha1.Tenant)
		suspended bool
	}{
		"active":           {func(*keysv1alpha1.Tenant) {}, false},
		"suspended":        {func(t *keysv1alpha1.Tenant) { t.Spec.State = keysv1alpha1.TenantSuspended }, true},
		"an unknown state": {func(t *keysv1alpha1.Tenant) { t.Spec.State = "Blocked" }, true},
		"no state":         {func(t *keysv1alpha1.Tenant) { t.Spec.State = "" }, true},
		"being deleted":    {func(t *keysv1alpha1.Tenant) { t.DeletionTimestamp = at(0) }, true},
	} {
		tenant := &keysv1alpha1.Tenant{Spec: keysv1alpha1.TenantSpec{
			ID: "an id", State: keysv1alpha1.TenantActive, AllowedCIDRs: []keysv1alpha1.CIDR{"192.0.2.0/24"},
		}}
		test.change(tenant)
		claim := keystate.TenantClaimOf(tenant)
		if claim.Suspended != test.suspended || claim.ID != "an id" || len(claim.AllowedCIDRs) != 1 {
			t.Errorf("%s: %+v", name, claim)
		}
	}
}
