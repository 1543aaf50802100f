package introspect_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/surface/introspect"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/identify"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	acme  = identify.Tenant
	guess = identify.Guess
)

func active() verify.Decision {
	decision := identify.Active()
	decision.Grant.Issued, decision.Grant.NotAfter = 1_800_000_000, time.Unix(1_900_000_000, 5).UnixNano()
	return decision
}

// ask posts a form.
func ask(t *testing.T, d *identify.Decider, form string, change ...func(*http.Request)) (int, string) {
	t.Helper()
	w := identify.Post(t, introspect.NewHandler(d), "application/x-www-form-urlencoded", form, change...)
	return w.Code, w.Body.String()
}

func TestActive(t *testing.T) {
	d := &identify.Decider{Decision: active()}
	status, body := ask(t, d, "token="+guess+"&token_type_hint=anything&more=x")
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"active": true, "scope": "products:read orders:*", "client_id": "warehouse/storefront", "token_type": "Bearer",
		"username": "nexuscommerce:tenant:" + acme + ":key:warehouse/storefront",
		"exp":      1_900_000_000.0, "iat": 1_800_000_000.0, "sub": acme, "tenant_id": acme, "jti": "7Hk2PqZx",
	}
	if status != http.StatusOK || !reflect.DeepEqual(got, want) {
		t.Errorf("status %d, %s", status, body)
	}
	d.CheckAsked(t, "introspect")
}

func TestActiveWithoutAnEndOrScopes(t *testing.T) {
	decision := active()
	decision.Grant.NotAfter, decision.Grant.ScopesHeader = index.Never, ""
	_, body := ask(t, &identify.Decider{Decision: decision}, "token=x")
	if strings.Contains(body, `"exp"`) || strings.Contains(body, `"scope"`) || !strings.Contains(body, `"active":true`) {
		t.Error(body)
	}
}

// TestInactive checks that the answer about an inactive token is the same for every reason, whether or not the token is
// known.
func TestInactive(t *testing.T) {
	for _, reason := range []verify.Reason{
		verify.ReasonMalformedToken, verify.ReasonUnknownToken, verify.ReasonRevoked, verify.ReasonSuspended,
		verify.ReasonExpired,
		verify.ReasonDeleted, verify.ReasonTenantSuspended, verify.ReasonTenantChanged, verify.ReasonAddressNotAllowed,
		verify.ReasonWrongTenant,
	} {
		for _, outcome := range []verify.Outcome{verify.Unauthorized, verify.Forbidden} {
			status, body := ask(
				t, &identify.Decider{Decision: verify.Decision{Outcome: outcome, Reason: reason, Grant: active().Grant}}, "token=x",
			)
			if status != http.StatusOK || body != `{"active":false}`+"\n" {
				t.Errorf("%s: status %d, %s", reason, status, body)
			}
		}
	}
}

// TestNotKnown checks that there is an error, and no answer about the token, if it can't be checked.
func TestNotKnown(t *testing.T) {
	for _, decision := range []verify.Decision{{}, {Outcome: verify.Unavailable, Reason: verify.ReasonUnavailable}} {
		status, body := ask(t, &identify.Decider{Decision: decision}, "token=x")
		if status != http.StatusServiceUnavailable || strings.Contains(body, "active") ||
			!strings.Contains(body, "temporarily_unavailable") {
			t.Errorf("status %d, %s", status, body)
		}
	}
}

func TestClientAddress(t *testing.T) {
	for form, want := range map[string]string{
		"token=x&client_ip=203.0.113.7": "203.0.113.7", "token=x&client_ip=2001:db8::7": "2001:db8::7",
		"token=x&client_ip=": "invalid IP", "token=x": "invalid IP",
	} {
		d := &identify.Decider{Decision: active()}
		if status, body := ask(t, d, form); status != http.StatusOK || d.Client.String() != want {
			t.Errorf("%s: from %s, want %s; status %d, %s", form, d.Client, want, status, body)
		}
	}
}

// TestTenant checks that the decision is for the tenant that the caller names.
func TestTenant(t *testing.T) {
	for form, want := range map[string]string{
		"token=x&tenant=" + acme: acme, "token=x&tenant=" + strings.ToUpper(acme): acme, "token=x&tenant=": "", "token=x": "",
		"token=x&tenant_id=" + acme: "", "token=x&Tenant=" + acme: "",
	} {
		d := &identify.Decider{Decision: active()}
		status, body := ask(t, d, form)
		got := ""
		if d.Tenant != nil {
			got = d.Tenant.String()
		}
		if status != http.StatusOK || got != want {
			t.Errorf("%s: for %q, want %q; status %d, %s", form, got, want, status, body)
		}
	}
}

// TestTenantRequired checks that the answer says that the tenant is missing, and nothing about who owns the token.
func TestTenantRequired(t *testing.T) {
	d := &identify.Decider{Decision: verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonTenantRequired}}
	if status, body := ask(t, d, "token=x"); status != http.StatusOK ||
		body != `{"active":false,"reason":"tenant_required"}`+"\n" {
		t.Errorf("status %d, %s", status, body)
	}
}

// TestBadRequests checks that invalid requests are not decided, and that the answer repeats nothing of them (S2).
func TestBadRequests(t *testing.T) {
	for name, test := range map[string]struct {
		form   string
		change func(*http.Request)
		status int
	}{
		"no token":             {"x=" + guess, nil, 400},
		"an empty token":       {"token=&x=" + guess, nil, 400},
		"two tokens":           {"token=" + guess + "&token=x", nil, 400},
		"the same token twice": {"token=" + guess + "&token=" + guess, nil, 400},
		"two hints":            {"token=" + guess + "&token_type_hint=a&token_type_hint=b", nil, 400},
		"a bad escape":         {"token=" + guess + "%zz", nil, 400},
		"a semicolon":          {"token=" + guess + ";x=y", nil, 400},
		"an address of none":   {"token=x&client_ip=" + guess, nil, 400},
		"an address and zone":  {"token=x&client_ip=fe80::1%25" + guess, nil, 400},
		"a tenant that's none": {"token=x&tenant=" + guess, nil, 400},
		"a tenant cut off":     {"token=x&tenant=" + acme[:35], nil, 400},
		"a tenant in braces":   {"token=x&tenant={" + acme + "}", nil, 400},
		"two tenants":          {"token=x&tenant=" + acme + "&tenant=" + acme, nil, 400},
		"in the URL":           {"token=x", func(r *http.Request) { r.URL.RawQuery = "token=" + guess }, 400},
		"GET":                  {"token=" + guess, func(r *http.Request) { r.Method = http.MethodGet }, 405},
		"JSON": {
			`{"token":"` + guess + `"}`, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 415,
		},
		"no type":               {"token=" + guess, func(r *http.Request) { r.Header.Del("Content-Type") }, 415},
		"too long":              {"token=" + strings.Repeat(guess, 1000), nil, 413},
		"a body that breaks":    {"", func(r *http.Request) { r.Body = io.NopCloser(breaking{}) }, 400},
		"a method in lowercase": {"token=" + guess, func(r *http.Request) { r.Method = "post" }, 405},
	} {
		t.Run(name, func(t *testing.T) {
			d := &identify.Decider{Decision: active()}
			change := test.change
			if change == nil {
				change = func(*http.Request) {}
			}
			status, body := ask(t, d, test.form, change)
			var fault map[string]string
			if err := json.Unmarshal([]byte(body), &fault); err != nil || fault["error"] != "invalid_request" ||
				fault["error_description"] == "" {
				t.Errorf("body %s", body)
			}
			if status != test.status || d.Asked || strings.Contains(body, guess) {
				t.Errorf("status %d, asked: %t, %s", status, d.Asked, body)
			}
		})
	}
}

type breaking struct{}

func (breaking) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestTypeParametersAreFine(t *testing.T) {
	for _, mediaType := range []string{
		"application/x-www-form-urlencoded; charset=UTF-8", "Application/X-WWW-Form-Urlencoded ;x=y",
	} {
		status, body := ask(t, &identify.Decider{Decision: active()}, "token=x", func(r *http.Request) {
			r.Header.Set("Content-Type", mediaType)
		})
		if status != http.StatusOK {
			t.Errorf("status %d, %s", status, body)
		}
	}
}

// FuzzForm checks that a form leads to a decision about the one token in it, or to none.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{
		"token=x", "token=a&token=b", "token=a%26token%3Db", "Token=x", "token[]=x", "token=x&client_ip=::ffff:1.2.3.4",
		"a;token=x", "%74oken=x", "token=\xff", "&&token=x&",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, form string) {
		d := &identify.Decider{Decision: active()}
		status, body := ask(t, d, form)
		values, err := url.ParseQuery(form)
		wanted := err == nil && len(values["token"]) == 1 && values["token"][0] != ""
		if d.Asked && (!wanted || d.Token != values["token"][0]) {
			t.Errorf("%q: asked about %q", form, d.Token)
		}
		if d.Asked != (status == http.StatusOK) {
			t.Errorf("%q: status %d, asked: %t", form, status, d.Asked)
		}
		if !json.Valid([]byte(body)) {
			t.Errorf("%q: %s", form, body)
		}
	})
}
