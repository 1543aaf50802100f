package conformance_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// refusal is a request that a client may send, and the decision about it.
type refusal struct {
	decision verify.Decision
	// what says in the table what is wrong with the request.
	what    string
	request func(s *subject) string
}

// withKey returns the request of a key that may pass, with another key.
func withKey(name string) func(*subject) string {
	return func(s *subject) string { return s.request(http.MethodGet, "/api/products", name) }
}

// atPath returns the request of a key that may pass, at another path.
func atPath(path string) func(*subject) string {
	return func(s *subject) string { return s.request(http.MethodGet, path, "reader") }
}

// withHeaders returns a request with these headers and Host. It replaces {token}, {tenant} and {other}.
func withHeaders(headers ...string) func(*subject) string {
	return func(s *subject) string {
		k := s.keys["reader"]
		text := head(append([]string{"GET /api/products HTTP/1.1", "Host: " + apiHost}, headers...)...)
		return strings.NewReplacer("{token}", k.token, "{tenant}", k.tenant, "{other}", s.keys["other"].tenant).Replace(text)
	}
}

func unauthorized(reason verify.Reason) verify.Decision {
	return verify.Decision{Outcome: verify.Unauthorized, Reason: reason}
}

func forbidden(reason verify.Reason) verify.Decision {
	return verify.Decision{Outcome: verify.Forbidden, Reason: reason}
}

const (
	bearer   = "Authorization: Bearer {token}"
	tenantID = "X-Tenant-ID: {tenant}"
)

// refusals are all that a client can cause.
var refusals = []refusal{
	{unauthorized(verify.ReasonNoCredentials), "no credentials", withHeaders(tenantID)},
	{unauthorized(verify.ReasonDuplicateCredentials), "two `Authorization`", withHeaders(tenantID, bearer, bearer)},
	{unauthorized(verify.ReasonTenantMissing), "no `X-Tenant-ID`", withHeaders(bearer)},
	{unauthorized(verify.ReasonTenantMalformed), "two `X-Tenant-ID`",
		withHeaders(bearer, tenantID, "X-Tenant-ID: {other}")},
	{unauthorized(verify.ReasonMalformedToken), "a malformed token", withKey("malformed")},
	{unauthorized(verify.ReasonUnknownToken), "an unknown token", withKey("unknown")},
	{unauthorized(verify.ReasonRevoked), "a revoked key", withKey("revoked")},
	{unauthorized(verify.ReasonDeleted), "a key that is being deleted", withKey("deleted")},
	{unauthorized(verify.ReasonSuspended), "a suspended key", withKey("suspended")},
	{unauthorized(verify.ReasonExpired), "an expired key", withKey("expired")},
	{unauthorized(verify.ReasonTenantChanged), "a namespace that has another tenant", withKey("moved")},
	{unauthorized(verify.ReasonTenantSuspended), "a suspended tenant", withKey("sleeping")},
	{forbidden(verify.ReasonWrongTenant), "another tenant's key", withHeaders(bearer, "X-Tenant-ID: {other}")},
	{forbidden(verify.ReasonAddressNotAllowed), "an address outside of `allowedCIDRs`", withKey("elsewhere")},
	{forbidden(verify.ReasonPathAmbiguous), "an ambiguous path, `/api/products;v=1`", atPath("/api/products;v=1")},
	{forbidden(verify.ReasonQueryMalformed), "a query that is not UTF-8", atPath("/api/products?q=caf\xe9")},
	{forbidden(verify.ReasonTargetTooLong), "a path and query of 8,200 bytes",
		atPath("/api/products?q=" + strings.Repeat("a", 8200-len("/api/products?q=")))},
	{forbidden(verify.ReasonHostMissing), "no host, as HTTP/1.0 allows", func(s *subject) string {
		return head(append([]string{"GET /api/products HTTP/1.0"}, s.credentials("reader")...)...)
	}},
	{forbidden(verify.ReasonNoRoute), "a route that no policy declares", atPath("/nowhere")},
	{verify.Decision{
		Outcome: verify.Forbidden, Reason: verify.ReasonScopeMissing, MissingScope: "products:read",
	}, "a scope that the key lacks", withKey("narrow")},
	{forbidden(verify.ReasonHeaderNominated), "`Connection: X-Tenant-ID`",
		withHeaders(bearer, tenantID, "Connection: X-Tenant-ID")},
}

// dependsOnVersion reports whether the answer depends on the version of nginx: controllers have a newer one than runs
// here, and it treats repeated headers in another way.
func (s *subject) dependsOnVersion(reason verify.Reason) bool {
	return s.setUp.proxy().Generated &&
		(reason == verify.ReasonTenantMalformed || reason == verify.ReasonDuplicateCredentials)
}

// isHarmless reports whether a request may pass although the verifier would refuse it: the proxy removes what is wrong
// with it, or what is wrong is the query, and the verifier is not told the query.
func (s *subject) isHarmless(reason verify.Reason) bool {
	onlyProducts := s.setUp.proxy().OnlyProducts
	return reason == verify.ReasonHeaderNominated ||
		onlyProducts && (reason == verify.ReasonTargetTooLong || reason == verify.ReasonQueryMalformed)
}

// unprovoked are the reasons that no client of a proxy can cause.
var unprovoked = map[string]string{
	"ReasonAllowed":        "it is no refusal",
	"ReasonAnonymous":      "it is no refusal",
	"ReasonTenantRequired": "only introspection has it",
	"ReasonMisconfigured":  "it is the proxy's fault",
	"ReasonUnavailable":    "it is the verifier's fault: a row of its own",
}

// refusalRows returns a row for each refusal.
func refusalRows() (all []row) {
	for _, r := range refusals {
		all = append(all, row{question: r.what + ": `" + reasonIn(r.decision) + "`", ask: func(s *subject) string {
			if s.dependsOnVersion(r.decision.Reason) {
				return notRun
			}
			a := s.ask(r.request(s))
			if !s.isHarmless(r.decision.Reason) {
				s.mustNotPass(r.what, a)
			} else if a.passed() {
				return "passes"
			}
			return refusalCell(r.decision, a)
		}})
	}
	return all
}

var reasonOf = regexp.MustCompile(`"reason":"([a-z_]+)"`)

// reasonIn returns the reason in a decision's body.
func reasonIn(d verify.Decision) string { return reasonOf.FindStringSubmatch(d.Body())[1] }

// refusalCell returns the cell for a refusal: the status, and what the client does not get of the verifier's answer. If
// the proxy answers by itself, the status is another one, or the reason is missing.
func refusalCell(d verify.Decision, a answer) string {
	if a.status != d.Status() {
		return a.code()
	}
	var lacks []string
	if !sameChallenge(d.Challenge(apiHost), a.header.Get("WWW-Authenticate")) {
		lacks = append(lacks, "challenge")
	}
	if a.body != d.Body() {
		lacks = append(lacks, "reason")
	}
	if len(lacks) == 0 {
		return a.code()
	}
	return a.code() + " without " + strings.Join(lacks, " and ")
}

var realm = regexp.MustCompile(`realm="[^"]*"`)

// sameChallenge reports whether two challenges are the same apart from the realm, which is the host if the verifier
// knows it.
func sameChallenge(a, b string) bool {
	return realm.ReplaceAllString(a, "") == realm.ReplaceAllString(b, "")
}

// TestEveryReasonIsAsked checks that each reason of a decision has a row, or is one that no client can cause.
func TestEveryReasonIsAsked(t *testing.T) {
	source := filepath.Join(controlplane.Root(), "internal", "verify", "decision.go")
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	asked, found := map[string]bool{}, 0
	for _, r := range refusals {
		asked[string(r.decision.Reason)] = true
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		value, ok := spec.Values[0].(*ast.BasicLit)
		if name := spec.Names[0].Name; ok && strings.HasPrefix(name, "Reason") {
			found++
			if reason := strings.Trim(value.Value, `"`); !asked[reason] && unprovoked[name] == "" {
				t.Errorf("no row asks for %s", reason)
			}
		}
		return true
	})
	if found < len(refusals) {
		t.Errorf("only %d reasons found", found)
	}
}
