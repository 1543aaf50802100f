// Package authresponse turns a decision into the response to a proxy's authorization request: the headers that identify
// the caller to the upstream, and for proxies that ask over HTTP all of the response.
package authresponse

import (
	"io"
	"net/http"

	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// Header is a header of a response.
type Header struct{ Name, Value string }

// Identity returns the headers that identify the caller to the upstream, for a decision that allows the request. All
// are there, empty if there is no value: proxies that copy a header from the response replace the client's own only if
// the response has it. The names are in canonical form, in which net/http sends them unchanged.
func Identity(decision verify.Decision) [4]Header {
	return [...]Header{
		{"X-Api-Key-Id", decision.Grant.CredentialID},
		{"X-Api-Key-Name", decision.Grant.Name},
		{"X-Api-Key-Scopes", decision.Grant.ScopesHeader},
		{"X-Api-Key-Tenant", decision.TenantID},
	}
}

// AppendRefusal appends the headers of a refusal: no caching, the body's type, and the challenge if there is one. The
// host that the client asked for is the challenge's realm.
func AppendRefusal(to []Header, decision *verify.Decision, host string) []Header {
	to = append(to,
		// With auth-cache-key and no duration, ingress-nginx caches responses for five minutes.
		Header{"Cache-Control", "no-store"},
		Header{"Content-Type", "application/json"},
	)
	if challenge := decision.Challenge(host); challenge != "" {
		to = append(to, Header{"Www-Authenticate", challenge})
	}
	return to
}

// noStore is shared by every response that allows a request. It must not be modified.
var noStore = []string{"no-store"}

// Write responds to a proxy over HTTP: with the status that the proxy acts on, and identity headers, or a challenge and
// a body that says why the request is refused.
func Write(w http.ResponseWriter, decision verify.Decision, host string) {
	if decision.Outcome == verify.Allow {
		identity := Identity(decision)
		set(w.Header(), identity[:])
		w.Header()["Cache-Control"] = noStore
		w.WriteHeader(http.StatusOK)
		return
	}
	var headers [3]Header
	set(w.Header(), AppendRefusal(headers[:0], &decision, host))
	w.WriteHeader(decision.Status())
	_, _ = io.WriteString(w, decision.Body()) // A proxy that has disconnected is not an error.
}

// set sets headers. Their names are canonical, so it can skip the work of http.Header.Set, and it allocates once for
// all values.
func set(header http.Header, headers []Header) {
	values := make([]string, len(headers))
	for i, h := range headers {
		values[i] = h.Value
		header[h.Name] = values[i : i+1 : i+1]
	}
}
