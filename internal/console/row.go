package console

import (
	"cmp"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// row is a key as the list shows it. Times are in RFC 3339, blank if there is none.
type row struct {
	Name        string               `json:"name"`
	DisplayName string               `json:"displayName"`
	Prefix      string               `json:"prefix,omitempty"`
	Scopes      []keysv1alpha1.Scope `json:"scopes"`
	Created     string               `json:"created"`
	LastUsed    string               `json:"lastUsed,omitempty"`
	Issued      string               `json:"issued,omitempty"`
	Expires     string               `json:"expires,omitempty"`
	State       keystate.State       `json:"state"`
	// Why is why a key does not work, if it is failed or waiting.
	Why string `json:"why,omitempty"`
	// May are the changes that make sense in the key's state.
	May []string `json:"may,omitempty"`
}

func newRow(key *keysv1alpha1.ApiKey, now time.Time) *row {
	r := keys.NewRow(key, now)
	shown := &row{
		Name: r.Name, DisplayName: printable.Text(r.DisplayName), Prefix: r.Prefix, Scopes: r.Scopes,
		Created: stamp(r.Created), LastUsed: stamp(r.LastUsed), Issued: stamp(r.Issued), Expires: stamp(r.Expires),
		State: r.State, May: possibleChanges(&r),
	}
	if r.State == keystate.StateFailed || r.State == keystate.StateWaiting {
		shown.Why = printable.Text(cmp.Or(r.Message, r.Reason))
	}
	return shown
}

// Names of changes, as in URLs.
const (
	changeRotate  = "rotate"
	changeSuspend = "suspend"
	changeResume  = "resume"
	changeRevoke  = "revoke"
)

// possibleChanges returns the changes that have an effect in the key's state.
func possibleChanges(r *keys.Row) (changes []string) {
	if (!r.Ended() || r.State == keystate.StateExpired) && !r.Digest && !r.Issued.IsZero() &&
		r.State != keystate.StateSuspended {
		changes = append(changes, changeRotate)
	}
	switch {
	case r.State == keystate.StateSuspended:
		changes = append(changes, changeResume)
	case !r.Ended():
		changes = append(changes, changeSuspend)
	}
	if r.State != keystate.StateRevoked && r.State != keystate.StateRevoking && r.State != keystate.StateDeleting {
		changes = append(changes, changeRevoke)
	}
	return changes
}

// stamp formats a time for scripts.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
