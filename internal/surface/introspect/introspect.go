// Package introspect tells services whether a token is active, and what it may do: OAuth 2.0 Token Introspection,
// RFC 7662.
//
// It does not authorize callers. Of a token that is not active it tells only that: neither why, nor whether there is
// such a token (RFC 7662, section 2.2). The one exception is a missing parameter: the tenant.
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
	// surface is the value of the metrics' label.
	surface = "introspect"
	// maxBody is how long a request may be. A token has 66 characters.
	maxBody = 16 << 10
	// formType is the media type of a request: RFC 7662, section 2.1.
	formType = "application/x-www-form-urlencoded"
)

// Decider decides whom a token identifies.
type Decider interface {
	Identify(surface, bearer string, tenant *index.TenantID, client netip.Addr) verify.Decision
}

// Handler answers introspection requests.
type Handler struct {
	decider Decider
}

// NewHandler returns a handler. The caller has to protect it.
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
	// tenantRequired is the answer about a token without a single owner, if the caller names no tenant.
	tenantRequired = `{"active":false,"reason":"` + string(verify.ReasonTenantRequired) + `"}` + "\n"
)

// question is what a caller asks. Without a tenant or with the zero address, these are not known.
type question struct {
	token  string
	tenant *index.TenantID
	client netip.Addr
}

// fault is the error for a request that can't be answered, in the form of RFC 6749, section 5.2.
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
		_ = json.NewEncoder(w).Encode(describe(decision)) // A caller that has disconnected is not an error.
	case decision.Outcome == verify.Unavailable:
		refuse(w, &fault{
			http.StatusServiceUnavailable, "temporarily_unavailable", "The token could not be checked. Try again later.",
		})
	case decision.Reason == verify.ReasonTenantRequired:
		_, _ = io.WriteString(w, tenantRequired)
	default:
		_, _ = io.WriteString(w, inactive)
	}
}

// describe returns the answer about an active token.
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

// read reads a request. Faults never repeat parts of the body, which may be a token.
func read(w http.ResponseWriter, r *http.Request) (question, *fault) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return question{}, &fault{
			http.StatusMethodNotAllowed, "invalid_request", "Ask by POST: a token has no place in a URL.",
		}
	}
	if r.URL.RawQuery != "" {
		return question{}, invalid("Send the parameters in the body: a token has no place in a URL.")
	}
	if mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); !strings.EqualFold(
		strings.TrimSpace(mediaType), formType,
	) {
		return question{}, &fault{http.StatusUnsupportedMediaType, "invalid_request", "Send a form, as " + formType + "."}
	}
	content, err := requestbody.Read(w, r, maxBody)
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return question{}, &fault{
			http.StatusRequestEntityTooLarge, "invalid_request", "The request is too long to be about one of our tokens.",
		}
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

// parse parses a form: the token, and what the caller knows about the request. Other parameters are allowed (RFC 7662,
// section 2.1). One without a value counts as missing (RFC 6749, section 3.2).
func parse(form url.Values) (q question, bad *fault) {
	for _, values := range form {
		if len(values) > 1 { // RFC 6749, section 3.2.
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
