package index_test

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// nthDigest returns the n-th of a series of digests.
func nthDigest(n int) token.Digest { return token.DigestOf(fmt.Sprint("token ", n)) }

// newClaimFor returns a claim of an object that was created in the given second.
func newClaimFor(object string, second int, digest token.Digest) *index.Claim {
	return &index.Claim{
		Grant:  index.Grant{Name: object, NotAfter: index.Never},
		Digest: digest, Created: time.Unix(int64(second), 0),
	}
}

// lookup finds the grant of a digest without naming a tenant.
func lookup(c *index.Credentials, digest token.Digest) (grant index.Grant, ok bool) {
	ok = c.Lookup(&digest, nil, &grant) != nil
	return grant, ok
}

// holders returns the names of the objects that claim a digest, in order.
func holders(c *index.Credentials, digest token.Digest) []string {
	var names []string
	for _, claim := range c.Find(func(claim *index.Claim) bool { return claim.Digest == digest }) {
		names = append(names, claim.Name)
	}
	return names
}

// wantHolders checks which objects claim a digest, and that a look-up finds the first of them.
func wantHolders(t *testing.T, c *index.Credentials, digest token.Digest, want ...string) {
	t.Helper()
	if got := holders(c, digest); !slices.Equal(got, want) {
		t.Errorf("claimed by %q, want %q", got, want)
	}
	if first, ok := lookup(c, digest); ok != (len(want) > 0) || ok && first.Name != want[0] {
		t.Errorf("%q is found, want the first of %q", first.Name, want)
	}
}

func TestLookup(t *testing.T) {
	c := index.NewCredentials()
	wantHolders(t, c, nthDigest(1))

	c.Put("a/key", []*index.Claim{newClaimFor("a/key", 1, nthDigest(1)), newClaimFor("a/key", 1, nthDigest(2))})
	c.Put("b/key", []*index.Claim{newClaimFor("b/key", 1, nthDigest(3))})
	wantHolders(t, c, nthDigest(1), "a/key")
	wantHolders(t, c, nthDigest(2), "a/key")
	wantHolders(t, c, nthDigest(3), "b/key")
	wantHolders(t, c, nthDigest(4))
	if c.Len() != 3 {
		t.Errorf("%d digests, want 3", c.Len())
	}
	objects := c.Objects()
	slices.Sort(objects)
	if !slices.Equal(objects, []string{"a/key", "b/key"}) {
		t.Errorf("objects %q", objects)
	}
}

// TestLookupComparesTheWholeDigest looks up digests that differ in one byte from one in the index. For each byte there
// are so many that some have the same bucket and tag as that one.
func TestLookupComparesTheWholeDigest(t *testing.T) {
	c := index.NewCredentials()
	for n := range 256 {
		name := fmt.Sprint("a/", n)
		c.Put(name, []*index.Claim{newClaimFor(name, 1, nthDigest(n))})
	}
	for n := range 256 {
		for at := range len(token.Digest{}) {
			for change := byte(1); change < 100; change++ {
				other := nthDigest(n)
				other[at] ^= change
				if grant, ok := lookup(c, other); ok {
					t.Fatalf("%s is found by a digest that differs in byte %d", grant.Name, at)
				}
			}
		}
	}
}

// TestLookupComparesTheWholeTenant looks up a digest that two tenants claim whose IDs differ in one byte.
func TestLookupComparesTheWholeTenant(t *testing.T) {
	c := index.NewCredentials()
	older, younger := newClaimFor("a/older", 1, nthDigest(1)), newClaimFor("a/younger", 2, nthDigest(1))
	c.Put("a/older", []*index.Claim{older})
	for at := range len(index.TenantID{}) {
		younger.Tenant = index.TenantID{}
		younger.Tenant[at] = 1
		c.Put("a/younger", []*index.Claim{younger})
		var grant index.Grant
		d := nthDigest(1)
		c.Lookup(&d, &younger.Tenant, &grant)
		if grant.Name != "a/younger" {
			t.Errorf("%s is found for a tenant that differs in byte %d", grant.Name, at)
		}
	}
}

// TestManyClaimsOfOneDigest checks that all claims are found, and so are others in the same bucket.
func TestManyClaimsOfOneDigest(t *testing.T) {
	c := index.NewCredentials()
	var want []string
	for n := range 500 {
		other, one := fmt.Sprint("a/other-", n), fmt.Sprintf("a/one-%03d", n)
		c.Put(other, []*index.Claim{newClaimFor(other, 1, nthDigest(1+n))})
		c.Put(one, []*index.Claim{newClaimFor(one, n, nthDigest(0))})
		want = append(want, one)
	}
	wantHolders(t, c, nthDigest(0), want...)
	for n := range 500 {
		wantHolders(t, c, nthDigest(1+n), fmt.Sprint("a/other-", n))
	}
	for _, one := range want[:499] {
		c.Put(one, nil)
	}
	wantHolders(t, c, nthDigest(0), want[499])
	for n := range 500 {
		wantHolders(t, c, nthDigest(1+n), fmt.Sprint("a/other-", n))
	}
}

func TestOldestObjectHoldsTheDigest(t *testing.T) {
	type object struct {
		name   string
		second int
	}
	for name, test := range map[string]struct {
		put  []object
		want []string
	}{
		"older first":              {[]object{{"a/old", 1}, {"a/new", 2}}, []string{"a/old", "a/new"}},
		"younger first":            {[]object{{"a/new", 2}, {"a/old", 1}}, []string{"a/old", "a/new"}},
		"age before name":          {[]object{{"a/a", 2}, {"a/z", 1}}, []string{"a/z", "a/a"}},
		"the same second":          {[]object{{"a/b", 1}, {"a/c", 1}, {"a/a", 1}}, []string{"a/a", "a/b", "a/c"}},
		"namespace, then name":     {[]object{{"b/a", 1}, {"a/b", 1}}, []string{"a/b", "b/a"}},
		"put between":              {[]object{{"a/1", 1}, {"a/3", 3}, {"a/2", 2}}, []string{"a/1", "a/2", "a/3"}},
		"put again":                {[]object{{"a/1", 1}, {"a/2", 2}, {"a/1", 1}}, []string{"a/1", "a/2"}},
		"created anew, so younger": {[]object{{"a/1", 1}, {"a/2", 2}, {"a/1", 3}}, []string{"a/2", "a/1"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := index.NewCredentials()
			for _, o := range test.put {
				c.Put(o.name, []*index.Claim{newClaimFor(o.name, o.second, nthDigest(1))})
			}
			wantHolders(t, c, nthDigest(1), test.want...)
			if c.Len() != 1 {
				t.Errorf("%d digests, want 1", c.Len())
			}
		})
	}
}

// TestMintedComesFirst checks that a minted claim comes before older ones, in whatever order the claims are put.
func TestMintedComesFirst(t *testing.T) {
	c := index.NewCredentials()
	put := func(name string, second int, minted bool) {
		put := newClaimFor(name, second, nthDigest(1))
		put.Minted = minted
		c.Put(name, []*index.Claim{put})
	}
	put("a/1", 1, false)
	put("a/3", 3, true)
	put("a/0", 0, false)
	wantHolders(t, c, nthDigest(1), "a/3", "a/0", "a/1")
	put("a/3", 3, false)
	wantHolders(t, c, nthDigest(1), "a/0", "a/1", "a/3")
	put("a/1", 1, true)
	wantHolders(t, c, nthDigest(1), "a/1", "a/0", "a/3")
}

func TestPutReplaces(t *testing.T) {
	before := []*index.Claim{newClaimFor("a/key", 1, nthDigest(1)), newClaimFor("a/key", 1, nthDigest(2))}
	for name, test := range map[string]struct {
		after []*index.Claim
		want  []int // the digests that are found afterwards
	}{
		"nothing":        {nil, nil},
		"one of the two": {before[1:], []int{2}},
		"the same":       {before, []int{1, 2}},
		"the same, anew": {[]*index.Claim{newClaimFor("a/key", 1, nthDigest(1)), newClaimFor("a/key", 1, nthDigest(2))},
			[]int{1, 2}},
		"the next after one": {[]*index.Claim{newClaimFor("a/key", 1, nthDigest(2)), newClaimFor("a/key", 1, nthDigest(3))},
			[]int{2, 3}},
		"others": {[]*index.Claim{newClaimFor("a/key", 1, nthDigest(3)), newClaimFor("a/key", 1, nthDigest(4))},
			[]int{3, 4}},
		"one more":           {append(slices.Clone(before), newClaimFor("a/key", 1, nthDigest(3))), []int{1, 2, 3}},
		"in the other order": {[]*index.Claim{before[1], before[0]}, []int{1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			c := index.NewCredentials()
			c.Put("b/other", []*index.Claim{newClaimFor("b/other", 0, nthDigest(8))})
			c.Put("a/key", before)
			c.Put("a/key", test.after)
			for n := range 8 {
				found := len(holders(c, nthDigest(n))) == 1
				if found != slices.Contains(test.want, n) {
					t.Errorf("digest %d found: %t", n, found)
				}
			}
			wantHolders(t, c, nthDigest(8), "b/other")
			if want := len(test.want) + 1; c.Len() != want {
				t.Errorf("%d digests, want %d", c.Len(), want)
			}
			if got := slices.Contains(c.Objects(), "a/key"); got != (len(test.after) > 0) {
				t.Errorf("the object is known: %t", got)
			}
		})
	}
}

func TestPutReplacesTheGrant(t *testing.T) {
	c := index.NewCredentials()
	active := newClaimFor("a/key", 1, nthDigest(1))
	c.Put("a/key", []*index.Claim{active})
	held, _ := lookup(c, active.Digest)

	revoked := newClaimFor("a/key", 1, nthDigest(1))
	revoked.State = index.StateRevoked
	c.Put("a/key", []*index.Claim{revoked})
	if got, _ := lookup(c, active.Digest); got != revoked.Grant {
		t.Error("the former grant is still found")
	}
	if held != active.Grant {
		t.Error("a grant that a reader holds has changed")
	}
}

func TestOtherClaimsSurvive(t *testing.T) {
	put := func(c *index.Credentials, object string, second int, digests ...token.Digest) {
		claims := make([]*index.Claim, 0, len(digests))
		for _, d := range digests {
			claims = append(claims, newClaimFor(object, second, d))
		}
		c.Put(object, claims)
	}
	for name, test := range map[string]struct {
		change func(*index.Credentials)
		want   []string // who claims digest 1
		count  int
	}{
		"the oldest goes":    {func(c *index.Credentials) { put(c, "a/1", 1) }, []string{"b/2", "c/3"}, 1},
		"one between goes":   {func(c *index.Credentials) { put(c, "b/2", 2) }, []string{"a/1", "c/3"}, 1},
		"the youngest goes":  {func(c *index.Credentials) { put(c, "c/3", 3) }, []string{"a/1", "b/2"}, 1},
		"one claims another": {func(c *index.Credentials) { put(c, "a/1", 1, nthDigest(2)) }, []string{"b/2", "c/3"}, 2},
		"one claims another too": {func(c *index.Credentials) { put(c, "b/2", 2, nthDigest(1), nthDigest(2)) },
			[]string{"a/1", "b/2", "c/3"}, 2},
		"a stranger goes": {func(c *index.Credentials) { put(c, "d/4", 4) }, []string{"a/1", "b/2", "c/3"}, 1},
		"all go": {func(c *index.Credentials) {
			for _, name := range c.Objects() {
				c.Put(name, nil)
			}
		}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := index.NewCredentials()
			put(c, "b/2", 2, nthDigest(1))
			put(c, "c/3", 3, nthDigest(1))
			put(c, "a/1", 1, nthDigest(1))
			test.change(c)
			wantHolders(t, c, nthDigest(1), test.want...)
			if c.Len() != test.count {
				t.Errorf("%d digests, want %d", c.Len(), test.count)
			}
		})
	}
}

func TestGrowth(t *testing.T) {
	const count = 100_000
	c := index.NewCredentials()
	claims := make([]*index.Claim, count)
	for n := range claims {
		claims[n] = newClaimFor(fmt.Sprint("a/", n), 1, nthDigest(n))
		c.Put(claims[n].Name, claims[n:n+1])
	}
	found := func(n int) bool {
		grant, ok := lookup(c, claims[n].Digest)
		return ok && grant == claims[n].Grant
	}
	if c.Len() != count {
		t.Errorf("%d digests, want %d", c.Len(), count)
	}
	for n := range claims {
		if !found(n) {
			t.Fatalf("digest %d of %d is lost", n, count)
		}
	}
	for n := 0; n < count; n += 2 {
		c.Put(claims[n].Name, nil)
	}
	if c.Len() != count/2 {
		t.Errorf("%d digests, want %d", c.Len(), count/2)
	}
	for n := range claims {
		if found(n) != (n%2 == 1) {
			t.Fatalf("after half of the digests went, digest %d is found: %t", n, found(n))
		}
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	c := index.NewCredentials()
	for n := range 1000 {
		name := fmt.Sprint("a/", n)
		c.Put(name, []*index.Claim{newClaimFor(name, 1, nthDigest(n))})
	}
	known, unknown := nthDigest(500), nthDigest(-1)
	if allocations := testing.AllocsPerRun(100, func() {
		var grant index.Grant
		if c.Lookup(&known, nil, &grant) == nil || c.Lookup(&unknown, nil, &grant) != nil {
			t.Fatal("not found as expected")
		}
	}); allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, count := range []int{1_000, 100_000} {
		c := index.NewCredentials()
		digests, tenant := make([]token.Digest, count), index.TenantID{}
		for n := range digests {
			digests[n] = nthDigest(n)
			name := fmt.Sprint("a/", n)
			c.Put(name, []*index.Claim{newClaimFor(name, 1, digests[n])})
		}
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				var grant index.Grant
				if c.Lookup(&digests[n%count], &tenant, &grant) == nil {
					b.Fatal("not found")
				}
			}
		})
	}
}

// FuzzCredentials compares the index with a plain map after any series of changes. Each pair of bytes selects one of
// four objects and the one of eight digests that it then has.
func FuzzCredentials(f *testing.F) {
	f.Add([]byte{0, 1, 1, 1, 2, 1, 0, 0, 1, 2})
	f.Add([]byte{3, 255, 2, 255, 1, 255, 0, 255, 3, 0, 2, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, changes []byte) {
		c := index.NewCredentials()
		reference := map[string]byte{}
		for ; len(changes) >= 2; changes = changes[2:] {
			// The objects' order by age is that by name.
			object, has := fmt.Sprint("a/", changes[0]%4), changes[1]
			reference[object] = has
			var claims []*index.Claim
			for n := range 8 {
				if has&(1<<n) != 0 {
					// All of them in one bucket, next to each other.
					d := token.Digest{31: byte(n)}
					binary.LittleEndian.PutUint64(d[:], 64*uint64(n))
					claims = append(claims, newClaimFor(object, int(changes[0]%4), d))
				}
			}
			c.Put(object, claims)
			checkAgainst(t, c, reference)
		}
	})
}

func checkAgainst(t *testing.T, c *index.Credentials, reference map[string]byte) {
	t.Helper()
	count := 0
	for n := range 8 {
		d := token.Digest{31: byte(n)}
		binary.LittleEndian.PutUint64(d[:], 64*uint64(n))
		var want []string
		for object := range 4 {
			if name := fmt.Sprint("a/", object); reference[name]&(1<<n) != 0 {
				want = append(want, name)
			}
		}
		if len(want) > 0 {
			count++
		}
		wantHolders(t, c, d, want...)
	}
	if c.Len() != count {
		t.Errorf("%d digests, want %d", c.Len(), count)
	}
}

func TestFind(t *testing.T) {
	c := index.NewCredentials()
	for n := range 300 { // More than the initial number of buckets.
		name := fmt.Sprintf("shop/%d", n%100)
		c.Put(name, []*index.Claim{newClaimFor(name, 1, nthDigest(n)), newClaimFor(name, 1, nthDigest(n+1000))})
	}
	for name, want := range map[string]int{"shop/7": 2, "shop/99": 2, "shop/100": 0} {
		found := c.Find(func(c *index.Claim) bool { return c.Name == name })
		if len(found) != want {
			t.Errorf("%d grants of %s, want %d", len(found), name, want)
		}
		for _, g := range found {
			if g.Name != name {
				t.Errorf("%s found for %s", g.Name, name)
			}
		}
	}
}

// TestPutOfEqualClaimsChangesNothing checks that an irrelevant change of a key, such as of its last use, leaves the
// index as it is, and that any other change does not.
func TestPutOfEqualClaimsChangesNothing(t *testing.T) {
	full := func() *index.Claim {
		g := newClaimFor("a/key", 1, nthDigest(1))
		g.CredentialID, g.Tenant, g.NotAfter = "7Hk2PqZx", index.TenantID{1}, 5
		g.Granted, g.Asked = []keysv1alpha1.Scope{"products:read"}, []keysv1alpha1.Scope{"products:*"}
		g.Allowlists = [2]index.Allowlist{index.NewAllowlist([]keysv1alpha1.CIDR{"10.0.0.0/8"}),
			index.NewAllowlist([]keysv1alpha1.CIDR{"fd00::/8"})}
		g.UsageSlot = 7
		return g
	}
	c := index.NewCredentials()
	before := full()
	c.Put("a/key", []*index.Claim{before})
	c.Put("a/key", []*index.Claim{full()})
	d := nthDigest(1)
	if got, _ := lookup(c, d); got != before.Grant || !c.Holds("a/key", []*index.Claim{full()}) {
		t.Error("the index doesn't have the claim that was put")
	}
	if got := testing.AllocsPerRun(10, func() { c.Put("a/key", []*index.Claim{before}) }); got > 4 {
		t.Errorf("%v allocations: a bucket was replaced by one that is the same", got)
	}
	for name, change := range map[string]func(*index.Claim){
		"id":      func(g *index.Claim) { g.CredentialID = "anotherI" },
		"created": func(g *index.Claim) { g.Created = time.Unix(2, 0) },
		"tenant":  func(g *index.Claim) { g.Tenant = index.TenantID{2} },
		"state":   func(g *index.Claim) { g.State = index.StateRevoked },
		"minted":  func(g *index.Claim) { g.Minted = true },
		"end":     func(g *index.Claim) { g.NotAfter = 6 },
		"granted": func(g *index.Claim) { g.Granted = []keysv1alpha1.Scope{"products:write"} },
		"asked":   func(g *index.Claim) { g.Asked = nil },
		"status's allowlist": func(g *index.Claim) {
			g.Allowlists[0] = index.NewAllowlist([]keysv1alpha1.CIDR{"10.0.0.0/9"})
		},
		"spec's allowlist": func(g *index.Claim) { g.Allowlists[1] = index.NewAllowlist(nil) },
		"a block that can't be read": func(g *index.Claim) {
			g.Allowlists[1] = index.NewAllowlist([]keysv1alpha1.CIDR{"banana"})
		},
		"usage slot": func(g *index.Claim) { g.UsageSlot = 8 },
	} {
		c.Put("a/key", []*index.Claim{before})
		changed := full()
		change(changed)
		c.Put("a/key", []*index.Claim{changed})
		found := c.Find(func(c *index.Claim) bool { return c.Digest == d })
		found[0].Created = found[0].Created.UTC()
		if changed.Created = changed.Created.UTC(); len(found) != 1 || !reflect.DeepEqual(found[0], changed) {
			t.Errorf("%s: the change was ignored: %+v", name, found[0])
		}
		if name != "usage slot" && c.Holds("a/key", []*index.Claim{before}) {
			t.Errorf("%s: the index still has the former claim", name)
		}
	}
}
