// Package explain tells people why a key would be refused on a route, check by check. They name the key, and never send
// its token.
package explain

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// Explainer explains decisions.
type Explainer interface {
	Explain(claim *index.Claim, request *verify.Request) verify.Explanation
	Find(wanted func(*index.Claim) bool) []*index.Claim
}

// Handler answers authorized people. It does not authorize them.
type Handler struct {
	explainer Explainer
}

// NewHandler returns a handler. The caller has to protect it.
func NewHandler(explainer Explainer) *Handler { return &Handler{explainer: explainer} }

// answer has an explanation for each credential of the key, which has two during a rotation's overlap.
type answer struct {
	Explanations []explanation `json:"explanations"`
}

type explanation struct {
	Key        string        `json:"key"`
	Credential string        `json:"credential"`
	Tenant     string        `json:"tenant"`
	Outcome    string        `json:"outcome"`
	Reason     verify.Reason `json:"reason"`
	Message    string        `json:"message"`
	Route      *route        `json:"route,omitempty"`
	Steps      []step        `json:"steps"`
}

// route is the rule that matches the request.
type route struct {
	Policy    string               `json:"policy,omitempty"`
	Rule      *int                 `json:"rule,omitempty"`
	Scopes    []keysv1alpha1.Scope `json:"scopes,omitempty"`
	AnyOf     []keysv1alpha1.Scope `json:"anyOf,omitempty"`
	Anonymous bool                 `json:"anonymous,omitempty"`
}

type step struct {
	Check   verify.Check         `json:"check"`
	OK      bool                 `json:"ok"`
	Reason  verify.Reason        `json:"reason,omitempty"`
	Message string               `json:"message,omitempty"`
	Missing []keysv1alpha1.Scope `json:"missing,omitempty"`
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		refuse(w, http.StatusMethodNotAllowed, "method_not_allowed", "Ask by GET.")
		return
	}
	wanted, request, fault := parse(r.URL.RawQuery)
	if fault != "" {
		refuse(w, http.StatusBadRequest, "invalid_request", fault)
		return
	}
	found := h.explainer.Find(wanted)
	if len(found) == 0 {
		refuse(
			w, http.StatusNotFound, "not_found",
			"The verifier knows no such credential: see the ApiKey's status for why it has none.",
		)
		return
	}
	// The oldest credential first, as in status.
	slices.SortFunc(found, func(a, b *index.Claim) int {
		if a.Issued != b.Issued {
			return int(min(max(a.Issued-b.Issued, -1), 1))
		}
		return strings.Compare(a.CredentialID, b.CredentialID)
	})
	var a answer
	for _, claim := range found {
		a.Explanations = append(a.Explanations, describe(claim, request, h.explainer.Explain(claim, request)))
	}
	write(w, http.StatusOK, a)
}

// describe returns an explanation as JSON shows it.
func describe(claim *index.Claim, request *verify.Request, e verify.Explanation) explanation {
	described := explanation{
		Key:        claim.Name,
		Credential: claim.CredentialID,
		Tenant:     claim.Tenant.String(),
		Outcome:    e.Decision.Outcome.String(),
		Reason:     e.Decision.Reason,
		Message:    e.Decision.Message(),
	}
	if need := e.Need; need != nil {
		described.Route = &route{Policy: need.Policy, Scopes: need.Scopes, AnyOf: need.AnyOf, Anonymous: need.Anonymous}
		if request.FixedScopes == nil {
			described.Route.Rule = &need.Rule
		}
	}
	for _, s := range e.Steps {
		described.Steps = append(described.Steps, step{
			Check: s.Check, OK: s.Reason == "", Reason: s.Reason, Message: explainStep(s), Missing: s.Missing,
		})
	}
	return described
}

// explainStep returns a message about a failed step, or "".
func explainStep(s verify.Step) string {
	switch {
	case s.Reason == "":
		return ""
	case s.Check == verify.CheckClaim && s.Reason == verify.ReasonRevoked:
		return "The token was minted for an ApiKey that is revoked: no other brings it back."
	case s.Check == verify.CheckClaim:
		return "An older ApiKey of the tenant claims the same digest, and the token stands for that one."
	case s.Contested:
		return "Another verifier has the same --name, so this one refuses everything."
	}
	return verify.Decision{Reason: s.Reason}.Message()
}

// parameters are the names of the query's parameters.
var parameters = []string{"key", "credential", "host", "method", "path", "ip", "tenant", "scope"}

// parse parses the query. Its faults never repeat parts of the query, which may be a token.
func parse(query string) (wanted func(*index.Claim) bool, request *verify.Request, fault string) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, nil, "The query can't be read."
	}
	for name, list := range values {
		switch {
		case !slices.Contains(parameters, name):
			return nil, nil, "The parameters are key (namespace/name) or credential (its id), host, method, path, ip, tenant " +
				"and scope."
		case len(list) > 1 && name != "scope":
			return nil, nil, "Only scope may be there more than once."
		case slices.ContainsFunc(list, token.WellFormed):
			return nil, nil, "Never send a token here: name the key, or the id of its credential."
		}
	}
	key, credential := values.Get("key"), values.Get("credential")
	if (key == "") == (credential == "") {
		return nil, nil, "Name either the key, as namespace/name, or the id of its credential."
	}
	wanted = func(claim *index.Claim) bool { return claim.Name == key }
	if key == "" {
		wanted = func(claim *index.Claim) bool { return claim.CredentialID == credential }
	}
	request, fault = parseRequest(values)
	return wanted, request, fault
}

// parseRequest parses the parameters that describe the request.
func parseRequest(values url.Values) (request *verify.Request, fault string) {
	request = &verify.Request{Host: values.Get("host"), Method: values.Get("method"), Target: values.Get("path")}
	if tenant := values.Get("tenant"); tenant != "" {
		request.TenantID = []string{tenant}
	}
	if address := values.Get("ip"); address != "" {
		client, err := netip.ParseAddr(address)
		if err != nil || client.Zone() != "" {
			return nil, "ip must be an IPv4 or IPv6 address."
		}
		request.Client = client
	}
	for _, scope := range values["scope"] {
		if !access.ValidScope(scope) {
			return nil, "scope must be one such as products:read."
		}
		request.FixedScopes = append(request.FixedScopes, keysv1alpha1.Scope(scope))
	}
	if request.FixedScopes == nil && (request.Host == "" || request.Method == "" || request.Target == "") {
		return nil, "Say which route: host, method and path; or scope, where the proxy's configuration fixes it."
	}
	return request, ""
}

func refuse(w http.ResponseWriter, status int, reason, message string) {
	write(w, status, map[string]string{"reason": reason, "message": message})
}

func write(w http.ResponseWriter, status int, content any) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(content) // A caller that has disconnected is not an error.
}
