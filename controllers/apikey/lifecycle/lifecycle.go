// Package lifecycle is what the steps of a key's life have in common: what each is given, what each returns, and the
// few rules that several of them share. The packages of the steps import it; it imports none of them.
package lifecycle

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/status"
)

// Step is one concern of a key's life. It does what is still missing, so that it can be repeated after any crash. Steps
// never call one another: what one of them needs from an earlier one is in the Reconciliation.
//
// An error means that the step could not be done now. It is tried again, and the key's conditions stay as they are.
type Step interface {
	Reconcile(ctx context.Context, r *Reconciliation) (Result, error)
}

// Result is the result of a step. The zero Result lets the next step run.
type Result struct {
	// Outcome ends the reconciliation, and is what the key's conditions say.
	Outcome *status.Outcome
	// Deferred ends the reconciliation without a write: the next one comes to the same outcome or to a more complete
	// one.
	Deferred bool
	// RequeueAfter is the time after which the key is reconciled even if nothing changes. Zero means never. The
	// soonest of all steps counts.
	RequeueAfter time.Duration
}

// Ends reports whether no further step follows.
func (r Result) Ends() bool { return r.Outcome != nil || r.Deferred }

// Reconciliation is one reconciliation of one key. The key's status is what steps change, in memory; Save stores it.
type Reconciliation struct {
	Key *keysv1alpha1.ApiKey
	// Now is when the reconciliation began, in whole seconds, as the API server stores times.
	Now metav1.Time
	// New reports whether nothing had been written of the key when the reconciliation began.
	New bool

	// Admission is what the admission step has decided. Only that step sets it.
	Admission Admission
	// Withheld reports whether the newest credential's token has to stay out of the Secret, because a verifier may not
	// know it yet. The Secret keeps the token before it. Only the rollout step sets it.
	Withheld bool

	save func(context.Context) error
}

// Admission is what the admission step has decided.
type Admission struct {
	// Tenant is the tenant that the key belongs to, or nil.
	Tenant *keysv1alpha1.Tenant
	// Refusal is the reason to refuse what the key asks for, or nil.
	Refusal *status.Outcome
}

// New returns a reconciliation of a key. The function stores what has changed in the key's status.
func New(key *keysv1alpha1.ApiKey, now time.Time, save func(context.Context) error) *Reconciliation {
	return &Reconciliation{Key: key, New: IsNew(key), Now: metav1.NewTime(now.UTC().Truncate(time.Second)), save: save}
}

// Save stores what has changed in the key's status, and fails with a conflict if the key has changed since it was read.
// Until it has returned without an error, nobody else has seen the change.
func (r *Reconciliation) Save(ctx context.Context) error { return r.save(ctx) }

// Conditions returns the key's conditions.
func (r *Reconciliation) Conditions() status.Conditions {
	return status.Of(&r.Key.Status.Conditions, &r.Key.Status.ObservedGeneration, r.Key.Generation, r.Now)
}

// Newest returns the credential that was announced last. There must be one.
func (r *Reconciliation) Newest() *keysv1alpha1.Credential {
	return &r.Key.Status.Credentials[len(r.Key.Status.Credentials)-1]
}

// Previous returns the credential that was announced before the newest, or nil.
func (r *Reconciliation) Previous() *keysv1alpha1.Credential {
	if len(r.Key.Status.Credentials) < 2 {
		return nil
	}
	return &r.Key.Status.Credentials[len(r.Key.Status.Credentials)-2]
}

// Until returns the RequeueAfter for an instant. The time of a reconciliation is cut to whole seconds: with one second
// more, the next reconciliation is certain to see the instant as past.
func (r *Reconciliation) Until(t time.Time) time.Duration {
	return max(t.Sub(r.Now.Time), 0) + time.Second
}

// Soonest returns the shorter of two times to requeue after. Zero means never.
func Soonest(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// IsNew reports whether nothing has been written of a key yet.
func IsNew(key *keysv1alpha1.ApiKey) bool {
	return len(key.Status.Conditions) == 0 && len(key.Status.Credentials) == 0
}

// Announced is the outcome for a key whose token no Secret holds yet. Its message has no numbers, so that waiting needs
// no writes.
func Announced() *status.Outcome {
	return status.Waiting(keysv1alpha1.ReasonAnnounced, "Verifiers are learning the key.")
}
