package keys

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// Row is a key as a list shows it.
type Row struct {
	Namespace, Name string
	// DisplayName is the descriptive name, or the object's.
	DisplayName string
	// Prefix is blank before the key is issued.
	Prefix string
	Scopes []keysv1alpha1.Scope
	// Created is when the object was created.
	Created time.Time
	// LastUsed is the zero time where no verifier has accepted the key.
	LastUsed time.Time
	// Issued is the zero time before the key is issued.
	Issued time.Time
	// Expires is the zero time for a key that does not expire, or that has not been issued.
	Expires time.Time
	State   keystate.State
	// Reason and Message are those of the condition that the state is derived from.
	Reason, Message string
	// TenantID and Secret are blank where there is none.
	TenantID, Secret string
	// Digest is set if the token was made elsewhere.
	Digest bool
}

// NewRow returns a key's row at a time.
func NewRow(key *keysv1alpha1.ApiKey, now time.Time) Row {
	row := Row{
		Namespace:   key.Namespace,
		Name:        key.Name,
		DisplayName: cmp.Or(key.Spec.DisplayName, key.Name),
		Prefix:      key.Status.Prefix,
		Scopes:      key.Spec.Scopes,
		Created:     key.CreationTimestamp.Time,
		TenantID:    key.Status.TenantID,
		Secret:      key.Status.SecretName,
		Digest:      key.Spec.Digest != nil,
	}
	if key.Status.LastUsedTime != nil {
		row.LastUsed = NotAfter(*key.Status.LastUsedTime, now).Time
	}
	if key.Status.IssuedTime != nil {
		row.Issued = key.Status.IssuedTime.Time
	}
	row.Expires, _ = keystate.Expires(key)
	row.State, row.Reason, row.Message = stateOf(key, now)
	return row
}

// NotAfter returns a time of use, or now if that is in the future: a verifier's clock may be wrong.
func NotAfter(t metav1.Time, now time.Time) metav1.Time {
	if t.After(now) {
		return metav1.NewTime(now)
	}
	return t
}

// Ended reports whether a key has ended, and will not work again by itself.
func (r *Row) Ended() bool {
	switch r.State {
	case keystate.StateRevoked, keystate.StateRevoking, keystate.StateExpired, keystate.StateDeleting:
		return true
	}
	return false
}

// Idle returns for how long nobody has used a key, and false if it has ended or was never issued.
// A key that was never used counts from its issue.
func (r *Row) Idle(now time.Time) (time.Duration, bool) {
	if r.Ended() || r.Issued.IsZero() {
		return 0, false
	}
	if r.LastUsed.After(r.Issued) {
		return now.Sub(r.LastUsed), true
	}
	return now.Sub(r.Issued), true
}

// Filter selects rows. The zero value selects all.
type Filter struct {
	// ExpiringWithin selects working keys that will have expired after this time.
	ExpiringWithin time.Duration
	// UnusedFor selects keys that nobody has used for this long.
	UnusedFor time.Duration
	// State selects keys in this state, if it is not blank.
	State keystate.State
}

// Wants reports whether a row is selected.
func (f Filter) Wants(r *Row, now time.Time) bool {
	if f.State != "" && r.State != f.State {
		return false
	}
	if f.ExpiringWithin > 0 && (r.Ended() || r.Expires.IsZero() || r.Expires.Sub(now) > f.ExpiringWithin) {
		return false
	}
	if f.UnusedFor > 0 {
		idle, counts := r.Idle(now)
		return counts && idle >= f.UnusedFor
	}
	return true
}
