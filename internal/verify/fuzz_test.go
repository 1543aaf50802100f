package verify_test

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// fuzzed is the scene and the request that FuzzDecide makes of its input.
type fuzzed struct {
	authorization, tenant, connection []string
	method, target                    string
	offset                            int64
	freshness                         verify.Freshness
}

// some returns up to two values, as many as two bits of flags select.
func some(flags byte, at int, first, second string) []string {
	return []string{first, second}[:min(2, flags>>at&3)]
}

func (f fuzzed) scene() *scene {
	s := newScene()
	s.anonymous("/public")
	s.grant.NotAfter = noon.UnixNano()
	s.request.Authorization, s.request.TenantID, s.request.Connection = f.authorization, f.tenant, f.connection
	s.request.Method, s.request.Target = f.method, f.target
	s.freshness = f.freshness
	s.now = noon.Add(time.Duration(f.offset % (1 << 50)))
	return s
}

var (
	oneBearer = regexp.MustCompile(`\A(?i:bearer) +` + acmeKey + `\z`)
	nominated = regexp.MustCompile(`(?i)(^|,)[ \t]*(authorization|x-tenant-id|x-api-key-[^,]*?)[ \t]*(,|$)`)
)

// identified reports whether a request of acmeKey can be allowed at all. It follows docs/verifier.md#the-decision, in
// another way than the code.
func (f fuzzed) identified(now time.Time) bool {
	return len(f.authorization) == 1 && oneBearer.MatchString(f.authorization[0]) &&
		len(f.tenant) == 1 && strings.EqualFold(f.tenant[0], acme) &&
		now.Before(noon)
}

// under reports whether a router that decodes the path would see it at or below a prefix.
func under(target, prefix string) bool {
	raw, _, _ := strings.Cut(target, "?")
	path, err := url.PathUnescape(raw)
	return err == nil && (path == prefix || strings.HasPrefix(path, prefix+"/")) &&
		!strings.Contains(path, "/../") && !strings.HasSuffix(path, "/..")
}

// FuzzDecide checks that, whatever the headers are, no request is allowed unless the reference conditions allow it.
func FuzzDecide(f *testing.F) {
	f.Add("Bearer "+acmeKey, "", acme, "", "", "GET", "/api/products/1?a", int64(-1), byte(0b01_01_01), byte(2))
	f.Add("bearer  "+acmeKey, "Basic x", strings.ToUpper(acme), globex, "close", "GET", "/api/products", int64(-1),
		byte(0b01_01_01), byte(2))
	f.Add("Bearer "+acmeKey, "Bearer "+acmeKey, acme, acme, "X-Tenant-ID", "GET", "/api/products", int64(-5),
		byte(0b01_10_10), byte(2))
	f.Add("Bearer "+acmeKey+", Bearer "+acmeKey, "", acme, "", "close", "POST", "/api/orders", int64(0),
		byte(0b00_01_01), byte(2))
	f.Add("Bearer "+unknownKey, "", globex, "", "", "GET", "/api//products", int64(-1), byte(0b00_01_01), byte(1))
	f.Add("Bearer", "", "3714240b-2e06-4c35-8856-cc-1c096323e", "", "", "GET", "/public", int64(1),
		byte(0b00_01_01), byte(2))
	f.Add("", "", "", "", "", "OPTIONS", "/public/%2e%2e/api/orders", int64(1), byte(0), byte(0))
	f.Fuzz(func(t *testing.T, authorization, authorization2, tenant, tenant2, connection, method, target string,
		offset int64, counts, freshness byte) {
		input := fuzzed{
			authorization: some(counts, 0, authorization, authorization2),
			tenant:        some(counts, 2, tenant, tenant2),
			connection:    some(counts, 4, connection, "close"),
			method:        method, target: target,
			offset:    offset,
			freshness: verify.Freshness(freshness % 3),
		}
		s := input.scene()
		got := s.decide()
		checkReference(t, input, s.now, got)
		if got.Outcome == verify.Allow {
			return
		}
		answer := got.Body() + got.Challenge(target)
		if !strings.HasPrefix(got.Body(), `{"reason":"`) || strings.ContainsAny(got.Challenge(target), "\r\n") {
			t.Errorf("answer %q", answer)
		}
		if strings.Contains(answer, acmeKey) {
			t.Error("the token is in the answer")
		}
	})
}

// checkReference compares a decision with what docs/verifier.md#the-decision says about the request.
func checkReference(t *testing.T, input fuzzed, now time.Time, got verify.Decision) {
	t.Helper()
	refused := input.freshness != verify.Fresh || slices.ContainsFunc(input.connection, nominated.MatchString)
	identified := input.identified(now)
	switch got.Reason {
	case verify.ReasonAllowed:
		mayProducts := input.method == "GET" && under(input.target, "/api/products")
		mayOrders := input.method == "POST" && under(input.target, "/api/orders")
		mayMore := input.method == "GET" && under(input.target, "/api/both") || under(input.target, "/api/either")
		mayAnyone := under(input.target, "/public")
		if refused || !identified || !mayProducts && !mayOrders && !mayMore && !mayAnyone {
			t.Errorf("allowed: %+v", input)
		}
		if got.Outcome != verify.Allow || !got.Grant.Known() || got.TenantID != acme {
			t.Errorf("allowed without an identity: %+v", got)
		}
	case verify.ReasonAnonymous:
		if refused || !under(input.target, "/public") || got.Grant.Known() {
			t.Errorf("allowed anonymously: %+v", input)
		}
	default:
		if got.Outcome == verify.Allow {
			t.Errorf("allowed with reason %s", got.Reason)
		}
		if !refused && identified && input.method == "GET" && input.target == "/api/products" {
			t.Errorf("refused with reason %s: %+v", got.Reason, input)
		}
	}
}
