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

// rules is how many rules the routes of a crowd have.
const rules = 50

// crowd is an index of many keys without a control plane, as the feed would have filled it, and requests that pass: one
// for each key, in an order that has nothing to do with where the index keeps it.
type crowd struct {
	view    *index.View
	bearers []string
	tenants []string
	request verify.Request
	now     time.Time
}

// crowdOf returns a crowd of n keys, of which the first so many have requests.
func crowdOf(n, asking int) *crowd {
	c := &crowd{
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
	c.view.SetRoutes(access.Compile([]keysv1alpha1.AccessPolicy{*policy}))
	tenants := index.Tenants{}
	for i := range c.tenants {
		c.tenants[i] = fixture.UUID()
		id, _ := index.ParseTenantID(c.tenants[i])
		tenants.Add(id, index.Tenant{Allowlists: []index.Allowlist{allowlist("203.0.113.0/24")}})
	}
	c.view.SetTenants(tenants)
	for i := range n {
		text := spell(i)
		if i < asking {
			c.bearers[i] = "Bearer " + text
		}
		c.put(i, token.DigestOf(text), index.StateActive)
	}
	return c
}

// spell returns the token of the i-th key. No root key derives it, which would take most of the time.
func spell(i int) string {
	text := fmt.Sprintf("%s%051d", token.FormatLive, i)
	checksum := new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(text)))).Text(62)
	return text + strings.Map(swapCase, fmt.Sprintf("%06s", checksum))
}

// swapCase turns a digit of big.Int's base 62, which has lower case before upper, into one of tokens'.
func swapCase(digit rune) rune {
	if digit > '9' {
		return digit ^ 0x20
	}
	return digit
}

// put has the index hold the i-th key, in a state.
func (c *crowd) put(i int, digest token.Digest, state index.State) {
	tenant, _ := index.ParseTenantID(c.tenants[i/perTenant])
	granted := []keysv1alpha1.Scope{"products:read", "products:write", "orders:read"}
	name := fmt.Sprintf("tenant-%05d/warehouse-%07d", i/perTenant, i)
	c.view.Credentials.Put(name, []*index.Claim{{
		Grant: index.Grant{
			CredentialID: digest.ID(), Name: name, ScopesHeader: "products:read products:write", Tenant: tenant,
			Issued: c.now.Unix(), NotAfter: c.now.AddDate(1, 0, 0).UnixNano(), State: state,
		},
		Digest: digest, Created: c.now, Granted: granted, Asked: granted[:2],
		Allowlists: [2]index.Allowlist{allowlist("203.0.113.0/24", "198.51.100.0/24"), {}},
	}})
}

func allowlist(blocks ...keysv1alpha1.CIDR) index.Allowlist { return index.NewAllowlist(blocks) }

// ask decides the i-th key's request.
func (c *crowd) ask(i int) verify.Decision {
	c.request.Authorization[0], c.request.TenantID[0] = c.bearers[i], c.tenants[i/perTenant]
	return verify.Decide(c.view, &c.request, verify.Fresh, c.now)
}

// token is the i-th key's.
func (c *crowd) token(i int) string { return c.bearers[i][len("Bearer "):] }

// misspell changes the last characters of every key, so that their checksums are wrong and nothing else.
func (c *crowd) misspell() {
	for i, bearer := range c.bearers {
		last := byte('a')
		if bearer[len(bearer)-1] == last {
			last = 'b'
		}
		c.bearers[i] = bearer[:len(bearer)-1] + string(last)
	}
}

// somewhere returns the beginning of a stretch of so many keys that have requests.
func (c *crowd) somewhere(stretch int) int { return rand.IntN(len(c.bearers) - stretch + 1) }
