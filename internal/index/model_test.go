package index_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// model holds the expected content of an index in maps.
type model map[string][]*index.Claim

// claimsOf returns the claims of the n-th digest: the minted one, then the others by age.
func (m model) claimsOf(n int) []*index.Claim {
	var claims []*index.Claim
	for _, ofObject := range m {
		for _, claim := range ofObject {
			if claim.Digest == nthDigest(n) {
				claims = append(claims, claim)
			}
		}
	}
	slices.SortFunc(claims, func(a, b *index.Claim) int {
		if a.Minted != b.Minted {
			if a.Minted {
				return -1
			}
			return 1
		}
		if order := a.Created.Compare(b.Created); order != 0 {
			return order
		}
		return strings.Compare(a.Name, b.Name)
	})
	return claims
}

// expectedClaim returns the claim that a look-up should find. It follows the documentation rule by rule, and not the
// code of the index.
func expectedClaim(claims []*index.Claim, tenant *index.TenantID) *index.Claim {
	isMinted := func(c *index.Claim) bool { return c.Minted }
	isTenants := func(c *index.Claim) bool { return tenant != nil && c.Tenant == *tenant }
	isAnothers := func(c *index.Claim) bool { return c.Tenant != claims[0].Tenant }
	first := func(wanted func(*index.Claim) bool) *index.Claim {
		if at := slices.IndexFunc(claims, wanted); at >= 0 {
			return claims[at]
		}
		return nil
	}
	minted := first(isMinted)
	switch own := first(isTenants); {
	case len(claims) == 0:
		return nil
	case own != nil && minted != nil && minted.State == index.StateRevoked:
		refused := *own
		refused.State = index.StateRevoked
		return &refused
	case own != nil:
		return own
	case minted != nil:
		return minted
	case first(isAnothers) != nil:
		return &index.Claim{Grant: index.Grant{State: index.StateContested}}
	}
	return claims[0]
}

// isMintedFor reports whether the controller minted the token of a digest for an object. Each is minted for at most
// one.
func isMintedFor(object string, digest int) bool {
	return strings.HasSuffix(object, fmt.Sprint("/key-", digest)) && object[3]%7 == byte(digest%7)
}

// anyClaim returns a random claim of an object. Its scopes follow from its end, so that a look-up which returns the
// terms of another claim is noticed.
func anyClaim(random *rand.Rand, object string, digests int) *index.Claim {
	n := random.IntN(digests)
	if own, err := strconv.Atoi(object[strings.LastIndexByte(object, '-')+1:]); err == nil &&
		own < digests && random.IntN(2) == 0 {
		n = own
	}
	c := newClaimFor(object, random.IntN(3), nthDigest(n))
	c.Minted = isMintedFor(object, n)
	c.CredentialID, c.Tenant, c.State = fmt.Sprintf("%08d", random.IntN(10)), index.TenantID{byte(random.IntN(3))},
		index.State(random.IntN(3))
	c.NotAfter, c.UsageSlot, c.Issued = int64(random.IntN(20)), index.UsageSlot(random.IntN(3)), 7
	c.Granted, c.Asked = []keysv1alpha1.Scope{scopeOf(c.NotAfter)}, []keysv1alpha1.Scope{"a:b"}
	c.ScopesHeader = string(scopeOf(c.NotAfter))
	if random.IntN(2) == 0 {
		c.Allowlists[0] = index.NewAllowlist([]keysv1alpha1.CIDR{keysv1alpha1.CIDR(fmt.Sprintf("10.%d.0.0/16", c.NotAfter))})
	}
	return c
}

func scopeOf(end int64) keysv1alpha1.Scope {
	return keysv1alpha1.Scope("resource-" + strconv.FormatInt(end, 10) + ":read")
}

// TestLikeAModel makes many random changes, among few digests and among many, and compares the index with the model.
func TestLikeAModel(t *testing.T) {
	for name, size := range map[string]struct{ objects, digests, changes int }{
		"few, often the same": {20, 10, 1_500},
		"many":                {1_000, 1_500, 3_000},
		"one digest":          {100, 1, 300},
	} {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			c, want := index.NewCredentials(), model{}
			for n := range size.changes {
				object := fmt.Sprintf("ns-%d/key-%d", n%7, random.IntN(size.objects))
				claims := make([]*index.Claim, random.IntN(4)%3)
				for i := range claims {
					claims[i] = anyClaim(random, object, size.digests)
				}
				if len(claims) == 2 && claims[0].Digest == claims[1].Digest {
					claims = claims[:1]
				}
				c.Put(object, claims)
				want[object] = claims
				if !c.Holds(object, claims) {
					t.Fatalf("change %d: the index doesn't have what was put", n)
				}
				if n%50 == 0 {
					c.Compact()
				}
				compare(t, c, want, random.IntN(size.digests))
			}
			objects := 0
			for n := 0; n < size.digests; n += 1 + size.digests/200 {
				compare(t, c, want, n)
			}
			for object, claims := range want {
				if len(claims) > 0 {
					objects++
				}
				c.Put(object, nil)
			}
			if c.Len() != 0 || len(c.Objects()) != 0 || len(c.Find(func(*index.Claim) bool { return true })) != 0 {
				t.Errorf("%d digests are left of %d objects", c.Len(), objects)
			}
		})
	}
}

// compare compares the results of looking up a digest, for each tenant and for none.
func compare(t *testing.T, c *index.Credentials, want model, n int) {
	t.Helper()
	claims := want.claimsOf(n)
	for _, tenant := range []*index.TenantID{nil, {}, {1}, {2}, {99}} {
		var got index.Grant
		d := nthDigest(n)
		terms, expected := c.Lookup(&d, tenant, &got), expectedClaim(claims, tenant)
		switch {
		case (terms == nil) != (expected == nil):
			t.Fatalf("digest %d to %v: found %q, want %v", n, tenant, got.Name, expected)
		case terms == nil:
		case got != expected.Grant:
			t.Fatalf("digest %d to %v: found %+v, want %+v", n, tenant, got, expected.Grant)
		case !slices.Equal(terms.Granted, expected.Granted) || !slices.Equal(terms.Asked, expected.Asked):
			t.Fatalf("digest %d to %v: terms %v and %v, want %v and %v", n, tenant, terms.Granted, terms.Asked,
				expected.Granted, expected.Asked)
		}
	}
}

// TestTermsAreTheClaims looks up digests while a writer changes claims, so that numbers of terms are reused, buckets
// split and objects are removed. Every result must be from a single claim. Without the call of current in Lookup, some
// are not.
func TestTermsAreTheClaims(t *testing.T) {
	const digests, changes = 500, 6_000
	c := index.NewCredentials()
	var done atomic.Bool
	var group sync.WaitGroup
	for reader := range 3 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(7, uint64(reader)))
			for !done.Load() {
				n := random.IntN(digests)
				d := nthDigest(n)
				var grant index.Grant
				terms := c.Lookup(&d, nil, &grant)
				if terms == nil {
					continue
				}
				if want := scopeOf(grant.NotAfter); terms.Granted[0] != want || grant.ScopesHeader != string(want) ||
					grant.Name != fmt.Sprint("a/", n) {
					t.Errorf("%s: granted %s until %d, header %q", grant.Name, terms.Granted[0], grant.NotAfter, grant.ScopesHeader)
					return
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range changes {
		n := random.IntN(digests)
		object := fmt.Sprint("a/", n)
		if random.IntN(4) == 0 {
			c.Put(object, nil)
			continue
		}
		put := anyClaim(random, object, 1)
		put.Digest, put.Created = nthDigest(n), time.Unix(0, 0)
		put.NotAfter = int64(random.IntN(100_000)) // Rarely equal, so that numbers of terms are released and reused.
		put.Granted, put.ScopesHeader = []keysv1alpha1.Scope{scopeOf(put.NotAfter)}, string(scopeOf(put.NotAfter))
		c.Put(object, []*index.Claim{put})
	}
	done.Store(true)
	group.Wait()
}
