package main

import (
	"fmt"
	"hash/crc32"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// rules is the number of rules in the routes of a synthetic index.
const rules = 50

// syntheticIndex is an index of many keys without a control plane, as the feed would have filled it, and an allowed
// request for each key, in an order that is unrelated to where the index keeps the keys.
type syntheticIndex struct {
	view    *index.View
	bearers []string
	tenants []string
	request verify.Request
	now     time.Time
}

// newSyntheticIndex returns a synthetic index of n keys. The first of them, as many as asking, have requests.
func newSyntheticIndex(n, asking int) *syntheticIndex {
	s := &syntheticIndex{
		view: index.NewView(), bearers: make([]string, asking), tenants: make([]string, n/perTenant+1), now: time.Now(),
		request: verify.Request{
			Host: fixture.Host, Method: "GET", Target: "/api/resource-17/4711?fields=name",
			Client:        netip.MustParseAddr("203.0.113.7"),
			Authorization: make([]string, 1), TenantID: make([]string, 1),
		},
	}
	policy := fixture.Policy("nexuscommerce")
	policy.Spec.Rules = nil
	for i := range rules {
		policy.Spec.Rules = append(policy.Spec.Rules, keysv1alpha1.AccessRule{
			Paths:   []keysv1alpha1.PathMatch{{Type: keysv1alpha1.PathPrefix, Value: fmt.Sprint("/api/resource-", i/2)}},
			Methods: []keysv1alpha1.Method{[]keysv1alpha1.Method{"GET", "POST"}[i%2]},
			Scopes:  []keysv1alpha1.Scope{[]keysv1alpha1.Scope{"products:read", "products:write"}[i%2]},
		})
	}
	s.view.SetRoutes(access.Compile([]keysv1alpha1.AccessPolicy{*policy}))
	tenants := index.Tenants{}
	for i := range s.tenants {
		s.tenants[i] = fixture.UUID()
		id, _ := index.ParseTenantID(s.tenants[i])
		tenants.Add(id, index.Tenant{Allowlists: []index.Allowlist{allowlist("203.0.113.0/24")}})
	}
	s.view.SetTenants(tenants)
	for i := range n {
		text := spell(i)
		if i < asking {
			s.bearers[i] = "Bearer " + text
		}
		s.put(i, token.DigestOf(text), index.StateActive)
	}
	return s
}

// spell returns the token of the i-th key. It is not derived from a root key, which would take most of the time.
func spell(i int) string {
	text := fmt.Sprintf("%s%051d", token.FormatLive, i)
	checksum := new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(text)))).Text(62)
	return text + strings.Map(swapCase, fmt.Sprintf("%06s", checksum))
}

// swapCase converts a digit of big.Int's base 62, in which lower case comes before upper case, to one of a token.
func swapCase(digit rune) rune {
	if digit > '9' {
		return digit ^ 0x20
	}
	return digit
}

// put adds the i-th key to the index, in a state.
func (s *syntheticIndex) put(i int, digest token.Digest, state index.State) {
	tenant, _ := index.ParseTenantID(s.tenants[i/perTenant])
	granted := []keysv1alpha1.Scope{"products:read", "products:write", "orders:read"}
	name := fmt.Sprintf("tenant-%05d/warehouse-%07d", i/perTenant, i)
	s.view.Credentials.Put(name, []*index.Claim{{
		Grant: index.Grant{
			CredentialID: digest.ID(), Name: name, ScopesHeader: "products:read products:write", Tenant: tenant,
			Issued: s.now.Unix(), NotAfter: s.now.AddDate(1, 0, 0).UnixNano(), State: state,
		},
		Digest: digest, Created: s.now, Granted: granted, Asked: granted[:2],
		Allowlists: [2]index.Allowlist{allowlist("203.0.113.0/24", "198.51.100.0/24"), {}},
	}})
}

func allowlist(blocks ...keysv1alpha1.CIDR) index.Allowlist { return index.NewAllowlist(blocks) }

// ask decides the i-th key's request.
func (s *syntheticIndex) ask(i int) verify.Decision {
	s.request.Authorization[0], s.request.TenantID[0] = s.bearers[i], s.tenants[i/perTenant]
	return verify.Decide(s.view, &s.request, verify.Fresh, s.now)
}

// token returns the i-th key's token.
func (s *syntheticIndex) token(i int) string { return s.bearers[i][len("Bearer "):] }

// misspell changes the last characters of every token, so that the checksum is wrong and nothing else.
func (s *syntheticIndex) misspell() {
	for i, bearer := range s.bearers {
		last := byte('a')
		if bearer[len(bearer)-1] == last {
			last = 'b'
		}
		s.bearers[i] = bearer[:len(bearer)-1] + string(last)
	}
}

// somewhere returns the start of a random stretch of keys that have requests.
func (s *syntheticIndex) somewhere(stretch int) int { return rand.IntN(len(s.bearers) - stretch + 1) }
