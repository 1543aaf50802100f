package explore_test

import (
	"slices"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// expectEnd checks L1: every key is in the state that its spec asks for, and nothing is left over.
func (r *run) expectEnd() {
	s := r.latest()
	for i := range s.keys {
		key := &s.keys[i]
		want := r.wanted(key)
		found := conditionSaying(key, want)
		switch {
		case found == nil || found.Reason != want || found.ObservedGeneration != key.Generation:
			r.fail("L1: not %s: %s", want, describe(key))
		case want == keysv1alpha1.ReasonReady:
			r.expectReady(s, key)
		case s.secret(key.Name) != nil && r.witness.foreign[key.Name] == "" && want == keysv1alpha1.ReasonRevoked:
			r.fail("L1: the revoked key %s has a Secret", key.Name)
		}
		if want == keysv1alpha1.ReasonRevoked &&
			!apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionRevocationEffective) {
			r.fail("L1: the revocation of %s is not effective", key.Name)
		}
	}
	r.noSecretLeft(s)
	r.ledgerTrue(s)
	if r.scenario.end != nil {
		r.scenario.end(r)
	}
}

// conditionSaying returns the condition that shows the state of a key: its own for a requested state, otherwise Ready.
func conditionSaying(key *keysv1alpha1.ApiKey, want string) *metav1.Condition {
	ready := apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionReady)
	if ready == nil {
		return apimeta.FindStatusCondition(key.Status.Conditions, want) // Its type is its reason.
	}
	return ready
}

// wanted returns the reason that Ready must have, by a key's spec, its namespace's tenant and the other keys.
func (r *run) wanted(key *keysv1alpha1.ApiKey) string {
	tenant := r.latest().tenant(r.latest().namespace.Labels[fixtureLabel])
	switch {
	case key.Spec.State == keysv1alpha1.ApiKeyRevoked:
		return keysv1alpha1.ReasonRevoked
	case apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionExpired):
		return keysv1alpha1.ReasonExpired
	case key.Status.TenantID != "" && !strings.EqualFold(key.Status.TenantID, tenant.Spec.ID):
		return keysv1alpha1.ReasonTenantChanged
	case len(key.Status.Credentials) == 0 && r.othersActive(key) >= int(*tenant.Spec.MaxKeys):
		return keysv1alpha1.ReasonQuotaExceeded
	case r.witness.foreign[key.Name] != "":
		return keysv1alpha1.ReasonSecretConflict
	}
	return keysv1alpha1.ReasonReady
}

func (r *run) othersActive(key *keysv1alpha1.ApiKey) int {
	active := 0
	for i := range r.latest().keys {
		if other := &r.latest().keys[i]; other.UID != key.UID && len(other.Status.Credentials) > 0 && r.alive(other) {
			active++
		}
	}
	return active
}

// expectReady expects that a key works with the token in its Secret, as its status says.
func (r *run) expectReady(s *state, key *keysv1alpha1.ApiKey) {
	status := &key.Status
	secret := s.secret(status.SecretName)
	if secret == nil || !metav1.IsControlledBy(secret, key) || len(status.Credentials) == 0 || status.Binding == nil {
		r.fail("L1: key %s is Ready without a Secret of its own", key.Name)
		return
	}
	text := string(secret.Data["token"])
	newest := status.Credentials[len(status.Credentials)-1]
	if token.DigestOf(text).String() != newest.Digest || newest.PublishedTime == nil || newest.ValidUntil != nil ||
		len(status.Credentials) > 1 {
		r.fail("L1: the Secret of key %s does not hold the one credential's token, or status does not say so", key.Name)
	}
	for _, v := range r.verifiers {
		if d := r.ask(v.view, text, status.TenantID); d.Outcome != verify.Allow {
			r.fail("L1: %s refuses the token of key %s: %s", v.name, key.Name, d.Reason)
		}
	}
	for _, absent := range []string{keysv1alpha1.ConditionReconciling, keysv1alpha1.ConditionStalled} {
		if apimeta.FindStatusCondition(status.Conditions, absent) != nil {
			r.fail("L1: key %s is Ready and %s", key.Name, absent)
		}
	}
}

// noSecretLeft expects no Secrets except those of keys and those that aren't ours.
func (r *run) noSecretLeft(s *state) {
	for i := range s.secrets {
		secret := &s.secrets[i]
		owner := metav1.GetControllerOf(secret)
		ours := owner != nil && s.keyByUID(owner.UID) != nil && secret.Name == s.keyByUID(owner.UID).Name
		if !ours && r.witness.foreign[secret.Name] == "" {
			r.fail("L1: Secret %s is left over", secret.Name)
		}
	}
}

// ledgerTrue expects that the ledger has exactly the keys that are active.
func (r *run) ledgerTrue(s *state) {
	for i := range s.tenants {
		tenant := &s.tenants[i]
		var want, got []string
		for j := range s.keys {
			if key := &s.keys[j]; len(key.Status.Credentials) > 0 && r.alive(key) &&
				strings.EqualFold(key.Status.TenantID, tenant.Spec.ID) {
				want = append(want, string(key.UID))
			}
		}
		for _, place := range tenant.Status.ActiveKeys {
			got = append(got, place.UID)
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			r.fail("L1: tenant %d: the ledger has %v, active are %v", i+1, got, want)
		}
	}
}
