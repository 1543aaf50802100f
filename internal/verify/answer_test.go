package verify_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// allReasons returns every exported constant of type Reason from the source, so that none can be forgotten.
func allReasons(t *testing.T) map[string]verify.Reason {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "decision.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]verify.Reason{}
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Reason" {
			return true
		}
		for i, name := range spec.Names {
			value, err := strconv.Unquote(spec.Values[i].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found[name.Name] = verify.Reason(value)
		}
		return true
	})
	if len(found) < 20 {
		t.Fatalf("%d reasons found in the source", len(found))
	}
	return found
}

func TestEveryReasonHasABody(t *testing.T) {
	seen := map[verify.Reason]string{}
	for name, reason := range allReasons(t) {
		t.Run(name, func(t *testing.T) {
			if other, ok := seen[reason]; ok {
				t.Errorf("%s has the same value", other)
			}
			seen[reason] = name
			body := verify.Decision{Outcome: verify.Unauthorized, Reason: reason}.Body()
			var answer map[string]string
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatalf("body %q: %v", body, err)
			}
			if len(answer) != 2 || answer["reason"] == "" || !strings.HasSuffix(answer["message"], ".") {
				t.Errorf("body %s", body)
			}
			if answer["reason"] != string(reason) && answer["reason"] != "invalid_token" {
				t.Errorf("body with reason %s", answer["reason"])
			}
		})
	}
}

// TestUnknownLooksLikeMalformed checks that the answers reveal nothing to someone who guesses tokens.
func TestUnknownLooksLikeMalformed(t *testing.T) {
	unknown := decideAfter(func(s *scene) { s.request.Authorization = bearer(unknownKey) })
	malformed := decideAfter(func(s *scene) { s.request.Authorization = bearer("x") })
	if unknown.Reason == malformed.Reason {
		t.Error("metrics can't tell them apart")
	}
	if unknown.Body() != malformed.Body() || unknown.Challenge(host) != malformed.Challenge(host) ||
		unknown.Status() != malformed.Status() {
		t.Errorf("%q and %q", unknown.Body(), malformed.Body())
	}
	if !strings.Contains(unknown.Body(), `"invalid_token"`) {
		t.Errorf("body %s", unknown.Body())
	}
}

// challenge is the grammar of the challenges: RFC 6750 section 3, with the characters that section 3 admits in
// error_description and scope.
var challenge = regexp.MustCompile(`\ABearer realm="[-._:\[\]0-9a-z]*"` +
	`(, error="(invalid_token|invalid_request|insufficient_scope)", error_description="[\x20-\x21\x23-\x5b\x5d-\x7e]+"` +
	`(, scope="[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")?)?\z`)

func TestChallenge(t *testing.T) {
	for name, test := range map[string]struct {
		decision verify.Decision
		want     string
	}{
		"no credentials": {
			verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonNoCredentials},
			`Bearer realm="api.example.com"`,
		},
		"unknown": {
			verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonUnknownToken},
			`Bearer realm="api.example.com", error="invalid_token", error_description="The API key is not valid."`,
		},
		"revoked": {
			verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonRevoked},
			`Bearer realm="api.example.com", error="invalid_token", error_description="The API key has been revoked."`,
		},
		"tenant missing": {
			verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonTenantMissing},
			`Bearer realm="api.example.com", error="invalid_request", ` +
				`error_description="Send the tenant ID in the X-Tenant-ID header."`,
		},
		"scope missing": {
			verify.Decision{Outcome: verify.Forbidden, Reason: verify.ReasonScopeMissing, MissingScope: "products:write"},
			`Bearer realm="api.example.com", error="insufficient_scope", ` +
				`error_description="The API key lacks a scope that this route needs.", scope="products:write"`,
		},
		"scopes missing": {
			verify.Decision{Outcome: verify.Forbidden, Reason: verify.ReasonScopeMissing, MissingScope: "a:b c:d"},
			`Bearer realm="api.example.com", error="insufficient_scope", ` +
				`error_description="The API key lacks a scope that this route needs.", scope="a:b c:d"`,
		},
		"wrong tenant":  {verify.Decision{Outcome: verify.Forbidden, Reason: verify.ReasonWrongTenant}, ""},
		"misconfigured": {verify.Decision{Outcome: verify.Forbidden, Reason: verify.ReasonMisconfigured}, ""},
		"unavailable":   {verify.Decision{Outcome: verify.Unavailable, Reason: verify.ReasonUnavailable}, ""},
		"allowed":       {verify.Decision{Outcome: verify.Allow, Reason: verify.ReasonAllowed}, ""},
		"anonymous":     {verify.Decision{Outcome: verify.Allow, Reason: verify.ReasonAnonymous}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := test.decision.Challenge(host)
			if got != test.want {
				t.Errorf("challenge %s\nwant      %s", got, test.want)
			}
			if got != "" && !challenge.MatchString(got) {
				t.Errorf("%s is no challenge", got)
			}
		})
	}
}

func TestRealm(t *testing.T) {
	refused := verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonNoCredentials}
	for name, test := range map[string]struct{ host, realm string }{
		"a host":              {"api.example.com", "api.example.com"},
		"upper case":          {"API.Example.com", "api.example.com"},
		"a port":              {"api.example.com:8443", "api.example.com"},
		"v6":                  {"[2001:db8::1]:443", "[2001:db8::1]"},
		"nothing":             {"", ""},
		"a quote":             {`api.example.com", error="none`, ""},
		"an escaped quote":    {`api\"`, ""},
		"a line break":        {"api.example.com\r\nSet-Cookie: a=b", ""},
		"a line feed":         {"api\nX: y", ""},
		"NUL":                 {"api\x00", ""},
		"user information":    {"user:secret@api.example.com", ""},
		"a path":              {"api.example.com/x", ""},
		"beyond ASCII":        {"bücher.example", ""},
		"invalid UTF-8":       {"\xff", ""},
		"junk":                {"<script>", ""},
		"something very long": {strings.Repeat("a", 1<<12), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got, want := refused.Challenge(test.host), `Bearer realm="`+test.realm+`"`; got != want {
				t.Errorf("challenge %s, want %s", got, want)
			}
		})
	}
}

// TestAnswersContainNothingOfTheRequest puts recognisable text into every part of a request (S2).
func TestAnswersContainNothingOfTheRequest(t *testing.T) {
	const marker = "MARKER"
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			s := newScene()
			s.request.Target = "/api/products/" + marker
			fault.cause(s)
			switch fault.reason {
			case verify.ReasonNoCredentials:
				s.request.Authorization = []string{"Basic " + marker}
			case verify.ReasonMalformedToken:
				s.request.Authorization = bearer(acmeKey + marker)
			case verify.ReasonTenantMalformed:
				s.request.TenantID = []string{marker}
			case verify.ReasonHeaderNominated:
				s.request.Connection = []string{"X-Tenant-ID, " + marker}
			}
			got := s.decide()
			wantReason(t, got, fault.reason)
			answer := got.Body() + got.Challenge(marker+`"@`+marker)
			for what, secret := range map[string]string{
				"the token": acmeKey, "its secret": acmeKey[17:60], "another token": unknownKey, "the request": marker,
				"the tenant": acme, "the digest": s.grant.Digest.String(), "the key's name": s.grant.Name,
			} {
				if strings.Contains(answer, secret) {
					t.Errorf("%s is in the answer: %s", what, answer)
				}
			}
		})
	}
}

func TestStatusIsOneThatProxiesSupport(t *testing.T) {
	for outcome, want := range map[verify.Outcome]int{verify.Allow: 200, verify.Unauthorized: 401, verify.Forbidden: 403,
		verify.Unavailable: 403} {
		if got := (verify.Decision{Outcome: outcome}).Status(); got != want {
			t.Errorf("status %d for %s, want %d", got, outcome, want)
		}
	}
	for outcome, want := range map[verify.Outcome]string{
		verify.Allow: "allow", verify.Unauthorized: "unauthorized", verify.Forbidden: "forbidden",
		verify.Unavailable: "unavailable",
	} {
		if got := outcome.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func FuzzChallenge(f *testing.F) {
	f.Add("api.example.com")
	f.Add("a\"\r\nX: y")
	f.Fuzz(func(t *testing.T, host string) {
		for _, fault := range faults {
			decision := verify.Decision{Outcome: verify.Unauthorized, Reason: fault.reason}
			if got := decision.Challenge(host); !challenge.MatchString(got) {
				t.Errorf("%q is no challenge", got)
			}
		}
	})
}
