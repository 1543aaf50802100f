// Package introspect answers services that ask whether a token is active, and what it may do: OAuth 2.0 Token Introspection,
// RFC 7662.
//
// Who may ask is not decided here. The one thing that is told of a token which is not active is that: neither why, nor
// whether there is such a token (section 2.2). There is one exception, and it says what the caller left out: the tenant.
package introspect

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/requestbody"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	// surface is the name in the metrics.
	surface = "introspect"
	// maxBody is how long a request may be. A token has 66 characters.
	maxBody = 16 << 10
	// formType is the media type of a request: RFC 7662, section 2.1.
	formType = "application/x-www-form-urlencoded"
)

// Decider says whose a token is.
type Decider interface {
	Identify(surface, bearer string, tenant *index.TenantID, client netip.Addr) verify.Decision
}

// Handler answers introspection requests.
type Handler struct {
	decider Decider
}

// NewHandler returns a handler for those who may ask.
func NewHandler(decider Decider) *Handler { return &Handler{decider: decider} }

// answer describes an active token: RFC 7662, section 2.2.
type answer struct {
	Active    bool   `json:"active"`
	Scope     string `json:"scope,omitempty"`
	ClientID  string `json:"client_id"`
	Username  string `json:"username"`
	TokenType string `json:"token_type"`
	Expires   int64  `json:"exp,omitempty"`
	Issued    int64  `json:"iat"`
	Subject   string `json:"sub"`
	ID        string `json:"jti"`
	TenantID  string `json:"tenant_id"`
}

const (
	inactive = `{"active":false}` + "\n"
	// tenantRequired is the answer about a token that has no one owner, where the caller names no tenant.
	tenantRequired = `{"active":false,"reason":"` + string(verify.ReasonTenantRequired) + `"}` + "\n"
)

// question is what a caller asks about. No tenant and the zero address are not known.
type question struct {
	token  string
	tenant *index.TenantID
	client netip.Addr
}

// fault is a request that can't be answered, in the form of RFC 6749 section 5.2.
type fault struct {
	status            int
	code, description string
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/json")
	q, bad := read(w, r)
	if bad != nil {
		refuse(w, bad)
		return
	}
	decision := h.decider.Identify(surface, q.token, q.tenant, q.client)
	switch {
	case decision.Outcome == verify.Allow:
		_ = json.NewEncoder(w).Encode(describe(decision)) // A caller that has gone away is no fault.
	case decision.Outcome == verify.Unavailable:
		refuse(w, &fault{http.StatusServiceUnavailable, "temporarily_unavailable", "The token could not be checked. Try again later."})
	case decision.Reason == verify.ReasonTenantRequired:
		_, _ = io.WriteString(w, tenantRequired)
	default:
		_, _ = io.WriteString(w, inactive)
	}
}

// describe says what an active token is.
func describe(decision verify.Decision) answer {
	grant := &decision.Grant
	a := answer{
		Active:    true,
		Scope:     grant.ScopesHeader,
		ClientID:  grant.Name,
		Username:  decision.UserName(),
		TokenType: "Bearer",
		Issued:    grant.Issued,
		Subject:   decision.TenantID,
		ID:        grant.CredentialID,
		TenantID:  decision.TenantID,
	}
	if grant.NotAfter != index.Never {
		a.Expires = time.Unix(0, grant.NotAfter).Unix()
	}
	return a
}

// read returns what is asked about. What is in a body never gets into a message: it may be a token.
func read(w http.ResponseWriter, r *http.Request) (question, *fault) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return question{}, &fault{http.StatusMethodNotAllowed, "invalid_request", "Ask by POST: a token has no place in a URL."}
	}
	if r.URL.RawQuery != "" {
		return question{}, invalid("Send the parameters in the body: a token has no place in a URL.")
	}
	if mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(mediaType), formType) {
		return question{}, &fault{http.StatusUnsupportedMediaType, "invalid_request", "Send a form, as " + formType + "."}
	}
	content, err := requestbody.Read(w, r, maxBody)
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return question{}, &fault{http.StatusRequestEntityTooLarge, "invalid_request", "The request is too long to be about one of our tokens."}
	}
	if err != nil {
		return question{}, invalid("The request could not be read.")
	}
	form, err := url.ParseQuery(string(content))
	if err != nil {
		return question{}, invalid("The body is not a form.")
	}
	return parse(form)
}

// parse returns what a form asks about: the token, and what the caller knows beside it. RFC 7662, section 2.1, allows for more parameters.
// A parameter without a value counts as left out (RFC 6749 section 3.2).
func parse(form url.Values) (q question, bad *fault) {
	for _, values := range form {
		if len(values) > 1 { // RFC 6749 section 3.2.
			return question{}, invalid("Send each parameter once.")
		}
	}
	if q.token = form.Get("token"); q.token == "" {
		return question{}, invalid("Send the token as the parameter token.")
	}
	if tenant := form.Get("tenant"); tenant != "" {
		id, ok := index.ParseTenantID(tenant)
		if !ok {
			return question{}, invalid("tenant must be a tenant's ID, which is a UUID.")
		}
		q.tenant = &id
	}
	if address := form.Get("client_ip"); address != "" {
		var err error
		if q.client, err = netip.ParseAddr(address); err != nil || q.client.Zone() != "" {
			return question{}, invalid("client_ip must be an IPv4 or IPv6 address.")
		}
	}
	return q, nil
}

func invalid(description string) *fault {
	return &fault{http.StatusBadRequest, "invalid_request", description}
}

func refuse(w http.ResponseWriter, f *fault) {
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": f.code, "error_description": f.description})
}
