package keystate

import (
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// Expires returns from when on a key is refused, and false where it does not expire: the earlier of what status grants and of what
// spec asks for now, so that a shorter expiry counts at once.
func Expires(key *keysv1alpha1.ApiKey) (time.Time, bool) {
	var end earliest
	if granted := key.Status.ExpiresTime; granted != nil {
		end.limit(granted.Time)
	}
	if issued := key.Status.IssuedTime; issued != nil {
		if asked, ok := key.Spec.Expiry.From(issued.Time); ok {
			end.limit(asked)
		}
	}
	return end.time, end.known
}

// CredentialExpires returns from when on a credential of a key is refused, and false where it does not expire: when the key does,
// or when its overlap with the credential that replaced it ends.
func CredentialExpires(key *keysv1alpha1.ApiKey, credential *keysv1alpha1.Credential) (time.Time, bool) {
	var end earliest
	if expires, ok := Expires(key); ok {
		end.limit(expires)
	}
	if credential.ValidUntil != nil {
		end.limit(credential.ValidUntil.Time)
	}
	return end.time, end.known
}

// earliest is the earliest of some times; the zero value is that of none.
type earliest struct {
	time  time.Time
	known bool
}

func (e *earliest) limit(t time.Time) {
	if !e.known || t.Before(e.time) {
		e.time, e.known = t, true
	}
}
