// Package authresponse puts a decision into what the surfaces have in common: the headers that tell the upstream who calls, and
// the answer to a proxy that asks over HTTP.
package authresponse

import (
	"io"
	"net/http"

	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// Header is a header of an answer.
type Header struct{ Name, Value string }

// Identity returns the headers that tell the upstream whose request it is, of a decision that lets it pass. All are there,
// blank where there is no value: proxies that copy a header from an answer replace the client's own only if the answer has
// it. The names are in the canonical form in which net/http sends them as they are.
func Identity(decision verify.Decision) [4]Header {
	return [...]Header{
		{"X-Api-Key-Id", decision.Grant.CredentialID},
		{"X-Api-Key-Name", decision.Grant.Name},
		{"X-Api-Key-Scopes", decision.Grant.ScopesHeader},
		{"X-Api-Key-Tenant", decision.TenantID},
	}
}

// AppendRefusal appends the headers of a refusal: that nobody may keep it, what the body is, and the challenge where there is
// one. The host that the client asked for names the challenge's realm.
func AppendRefusal(to []Header, decision *verify.Decision, host string) []Header {
	to = append(to,
		// ingress-nginx caches answers for five minutes where it is told to cache and not told for how long.
		Header{"Cache-Control", "no-store"},
		Header{"Content-Type", "application/json"},
	)
	if challenge := decision.Challenge(host); challenge != "" {
		to = append(to, Header{"Www-Authenticate", challenge})
	}
	return to
}

// noStore is for every answer that lets a request pass. Nobody changes it.
var noStore = []string{"no-store"}

// Write answers a proxy over HTTP: the status that it acts on, identity headers or a challenge, and for a refusal a body that
// says why.
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
	_, _ = io.WriteString(w, decision.Body()) // A proxy that has gone away is no fault.
}

// set puts headers into an answer. Their names are canonical, so that nothing is left for http.Header.Set to do, and the values
// of all are in one piece of memory.
func set(header http.Header, headers []Header) {
	values := make([]string, len(headers))
	for i, h := range headers {
		values[i] = h.Value
		header[h.Name] = values[i : i+1 : i+1]
	}
}
