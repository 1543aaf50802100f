package forward_test

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const acme = "3714240b-2e06-4c35-8856-ccc1c096323e"

var identityHeaders = []string{"X-Api-Key-Id", "X-Api-Key-Name", "X-Api-Key-Scopes", "X-Api-Key-Tenant"}

func TestAllow(t *testing.T) {
	grant := index.Grant{CredentialID: "7Hk2PqZx", Name: "shop/warehouse", ScopesHeader: "products:read orders:*"}
	for name, test := range map[string]struct {
		decision verify.Decision
		want     []string // the identity headers' values
	}{
		"a key": {
			verify.Decision{Outcome: verify.Allow, Reason: verify.ReasonAllowed, Grant: grant, TenantID: acme},
			[]string{"7Hk2PqZx", "shop/warehouse", "products:read orders:*", acme},
		},
		"a key without scopes": {
			verify.Decision{Outcome: verify.Allow, Reason: verify.ReasonAllowed, Grant: index.Grant{
				CredentialID: "a", Name: "b/c",
			}, TenantID: acme},
			[]string{"a", "b/c", "", acme},
		},
		"anonymous": {
			verify.Decision{Outcome: verify.Allow, Reason: verify.ReasonAnonymous},
			[]string{"", "", "", ""},
		},
	} {
		for dialectName, d := range dialects {
			t.Run(dialectName+": "+name, func(t *testing.T) {
				r := d.call()
				for _, header := range identityHeaders {
					r.Header.Set(header, "forged")
				}
				response := d.ask(t, &recorder{decision: test.decision}, r)
				if response.StatusCode != http.StatusOK {
					t.Errorf("status %d", response.StatusCode)
				}
				for i, header := range identityHeaders {
					if got := response.Header.Values(header); !slices.Equal(got, test.want[i:i+1]) {
						t.Errorf("%s is %q, want %q", header, got, test.want[i])
					}
				}
				wantNoStore(t, response)
				if challenge := response.Header.Values("WWW-Authenticate"); challenge != nil {
					t.Errorf("challenge %q", challenge)
				}
				if body := read(t, response); body != "" {
					t.Errorf("body %q", body)
				}
			})
		}
	}
}

func TestRefuse(t *testing.T) {
	const realm = `Bearer realm="api.example.com"`
	for name, test := range map[string]struct {
		decision  verify.Decision
		status    int
		challenge string
		reason    string
	}{
		"no credentials": {
			verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonNoCredentials},
			401, realm, "no_credentials",
		},
		"revoked, and who it was": {
			verify.Decision{
				Outcome: verify.Unauthorized, Reason: verify.ReasonRevoked, Grant: index.Grant{CredentialID: "a", Name: "b/c"},
			},
			401, realm + `, error="invalid_token", error_description="The API key has been revoked."`, "revoked",
		},
		"unknown": {
			verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonUnknownToken},
			401, realm + `, error="invalid_token", error_description="The API key is not valid."`, "invalid_token",
		},
		"scope missing": {
			verify.Decision{Outcome: verify.Forbidden, Reason: verify.ReasonScopeMissing, MissingScope: "a:b"},
			403, realm + `, error="insufficient_scope", error_description="The API key lacks a scope that this route ` +
				`needs.", scope="a:b"`,
			"insufficient_scope",
		},
		"no route": {
			verify.Decision{Outcome: verify.Forbidden, Reason: verify.ReasonNoRoute}, 403, "", "route_not_declared",
		},
		"not fresh": {
			verify.Decision{Outcome: verify.Unavailable, Reason: verify.ReasonUnavailable}, 403, "", "unavailable",
		},
		"never decided": {verify.Decision{}, 403, "", "unavailable"},
		"with a tenant": {verify.Decision{
			Outcome: verify.Forbidden, Reason: verify.ReasonNoRoute, TenantID: acme,
		}, 403, "", "route_not_declared"},
		"header dropped": {
			verify.Decision{Outcome: verify.Forbidden, Reason: verify.ReasonHeaderNominated}, 403, "", "header_nominated",
		},
	} {
		for dialectName, d := range dialects {
			t.Run(dialectName+": "+name, func(t *testing.T) {
				response := d.ask(t, &recorder{decision: test.decision}, d.call())
				wantRefusal(t, response, test.status, test.reason)
				if got := response.Header.Get("WWW-Authenticate"); got != test.challenge {
					t.Errorf("challenge %s\nwant      %s", got, test.challenge)
				}
			})
		}
	}
}

// TestRealmIsAHost checks that a Host header can't break out of the challenge.
func TestRealmIsAHost(t *testing.T) {
	for name, d := range dialects {
		for _, host := range []string{`a", error="none`, "a\r\nX: y", "user:pw@a", "\xff"} {
			t.Run(name, func(t *testing.T) {
				r := d.call()
				r.Header["X-Forwarded-Host"] = []string{host}
				r.Header["X-Original-Url"] = []string{"https://" + host + "/"}
				r.Host = host
				response := d.ask(
					t, &recorder{decision: verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonNoCredentials}}, r,
				)
				if got := response.Header.Get("WWW-Authenticate"); got != `Bearer realm=""` {
					t.Errorf("challenge %q", got)
				}
			})
		}
	}
}

// wantRefusal checks what all refusals have in common.
func wantRefusal(t *testing.T, response *http.Response, status int, reason string) {
	t.Helper()
	if response.StatusCode != status {
		t.Errorf("status %d, want %d", response.StatusCode, status)
	}
	wantNoStore(t, response)
	for _, header := range identityHeaders {
		if values := response.Header.Values(header); values != nil {
			t.Errorf("%s is %q", header, values)
		}
	}
	if got := response.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q", got)
	}
	body := read(t, response)
	var answer struct{ Reason, Message string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
	if answer.Reason != reason || answer.Message == "" {
		t.Errorf("body %s, want the reason %s", body, reason)
	}
}

func wantMisconfigured(t *testing.T, response *http.Response) {
	t.Helper()
	wantRefusal(t, response, http.StatusForbidden, "proxy_misconfigured")
	if challenge := response.Header.Values("WWW-Authenticate"); challenge != nil {
		t.Errorf("challenge %q", challenge)
	}
}

func wantNoStore(t *testing.T, response *http.Response) {
	t.Helper()
	if got := response.Header.Values("Cache-Control"); !slices.Equal(got, []string{"no-store"}) {
		t.Errorf("Cache-Control is %q", got)
	}
}

func read(t *testing.T, response *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
