package forward

import (
	"io"
	"net/http"

	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// Identity headers, in the canonical form in which net/http sends them as they are.
const (
	headerKeyID  = "X-Api-Key-Id"
	headerName   = "X-Api-Key-Name"
	headerScopes = "X-Api-Key-Scopes"
	headerTenant = "X-Api-Key-Tenant"
)

// write answers with a decision: the status that the proxy acts on, identity headers or a challenge, and for a refusal a
// body that says why.
func write(w http.ResponseWriter, decision verify.Decision, host string) {
	header := w.Header()
	// ingress-nginx caches answers for five minutes where it is told to cache and not told for how long.
	header["Cache-Control"] = []string{"no-store"}
	if decision.Outcome == verify.Allow {
		identify(header, decision)
		w.WriteHeader(http.StatusOK)
		return
	}
	if challenge := decision.Challenge(host); challenge != "" {
		header["Www-Authenticate"] = []string{challenge}
	}
	header["Content-Type"] = []string{"application/json"}
	w.WriteHeader(decision.Status())
	_, _ = io.WriteString(w, decision.Body()) // A proxy that has gone away is no fault.
}

// identify sets every identity header, empty where it has no value: proxies that copy a header from an answer replace the
// client's own only if the answer has it.
func identify(header http.Header, decision verify.Decision) {
	var id, name, scopes string
	if grant := decision.Grant; grant != nil {
		id, name, scopes = grant.CredentialID, grant.Name, grant.ScopesHeader
	}
	header[headerKeyID] = []string{id}
	header[headerName] = []string{name}
	header[headerScopes] = []string{scopes}
	header[headerTenant] = []string{decision.TenantID}
}
