package keystate

import (
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// Expires returns when a key expires, or false if it doesn't. That is the earlier of what status grants and what spec
// asks for, so that a shorter expiry takes effect at once.
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

// CredentialExpires returns when a credential of a key expires, or false if it doesn't. That is when the key expires,
// or when the credential's overlap with its successor ends.
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

// earliest is the earliest of some times. The zero value stands for no time.
type earliest struct {
	time  time.Time
	known bool
}

func (e *earliest) limit(t time.Time) {
	if !e.known || t.Before(e.time) {
		e.time, e.known = t, true
	}
}
