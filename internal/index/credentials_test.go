package index_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// digest returns the n-th of a series of digests.
func digest(n int) token.Digest { return token.DigestOf(fmt.Sprint("token ", n)) }

// grant returns a grant of an object that was created at a second of an epoch of its own.
func grant(object string, second int, digest token.Digest) *index.Grant {
	return &index.Grant{Digest: digest, Name: object, Created: time.Unix(int64(second), 0), NotAfter: index.Never}
}

// holders returns the names of the objects that claim a digest, in the order of their claims.
func holders(c *index.Credentials, digest token.Digest) []string {
	var names []string
	for _, claim := range c.Lookup(&digest) {
		names = append(names, claim.Name)
	}
	return names
}

func wantHolders(t *testing.T, c *index.Credentials, digest token.Digest, want ...string) {
	t.Helper()
	if got := holders(c, digest); !slices.Equal(got, want) {
		t.Errorf("claimed by %q, want %q", got, want)
	}
}

func TestLookup(t *testing.T) {
	c := index.NewCredentials()
	wantHolders(t, c, digest(1))

	c.Put("a/key", []*index.Grant{grant("a/key", 1, digest(1)), grant("a/key", 1, digest(2))})
	c.Put("b/key", []*index.Grant{grant("b/key", 1, digest(3))})
	wantHolders(t, c, digest(1), "a/key")
	wantHolders(t, c, digest(2), "a/key")
	wantHolders(t, c, digest(3), "b/key")
	wantHolders(t, c, digest(4))
	if c.Len() != 3 {
		t.Errorf("%d digests, want 3", c.Len())
	}
	objects := c.Objects()
	slices.Sort(objects)
	if !slices.Equal(objects, []string{"a/key", "b/key"}) {
		t.Errorf("objects %q", objects)
	}
}

// TestLookupComparesTheWholeDigest has digests that share all that the hash is made of.
func TestLookupComparesTheWholeDigest(t *testing.T) {
	c := index.NewCredentials()
	alike := func(n byte) token.Digest { return token.Digest{31: n} }
	for n := range byte(8) {
		name := fmt.Sprint("a/", n)
		c.Put(name, []*index.Grant{grant(name, 1, alike(n))})
	}
	c.Put("a/3", nil)
	for n := range byte(8) {
		if n != 3 {
			wantHolders(t, c, alike(n), fmt.Sprint("a/", n))
		}
	}
	wantHolders(t, c, alike(3))
	wantHolders(t, c, alike(8))
}

func TestOlderObjectHoldsTheDigest(t *testing.T) {
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
				c.Put(o.name, []*index.Grant{grant(o.name, o.second, digest(1))})
			}
			wantHolders(t, c, digest(1), test.want...)
			if c.Len() != 1 {
				t.Errorf("%d digests, want 1", c.Len())
			}
		})
	}
}

func TestPutReplaces(t *testing.T) {
	before := []*index.Grant{grant("a/key", 1, digest(1)), grant("a/key", 1, digest(2))}
	for name, test := range map[string]struct {
		after []*index.Grant
		want  []int // the digests that are found afterwards
	}{
		"nothing":            {nil, nil},
		"one of the two":     {before[1:], []int{2}},
		"the same":           {before, []int{1, 2}},
		"the same, anew":     {[]*index.Grant{grant("a/key", 1, digest(1)), grant("a/key", 1, digest(2))}, []int{1, 2}},
		"the next after one": {[]*index.Grant{grant("a/key", 1, digest(2)), grant("a/key", 1, digest(3))}, []int{2, 3}},
		"others":             {[]*index.Grant{grant("a/key", 1, digest(3)), grant("a/key", 1, digest(4))}, []int{3, 4}},
		"one more":           {append(slices.Clone(before), grant("a/key", 1, digest(3))), []int{1, 2, 3}},
		"in the other order": {[]*index.Grant{before[1], before[0]}, []int{1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			c := index.NewCredentials()
			c.Put("b/other", []*index.Grant{grant("b/other", 0, digest(8))})
			c.Put("a/key", before)
			c.Put("a/key", test.after)
			for n := range 8 {
				found := len(holders(c, digest(n))) == 1
				if found != slices.Contains(test.want, n) {
					t.Errorf("digest %d found: %t", n, found)
				}
			}
			wantHolders(t, c, digest(8), "b/other")
			if want := len(test.want) + 1; c.Len() != want {
				t.Errorf("%d digests, want %d", c.Len(), want)
			}
			if got := slices.Contains(c.Objects(), "a/key"); got != (len(test.after) > 0) {
				t.Errorf("the object is known: %t", got)
			}
		})
	}
}

func TestPutReplacesWhatIsKnown(t *testing.T) {
	c := index.NewCredentials()
	active := grant("a/key", 1, digest(1))
	c.Put("a/key", []*index.Grant{active})
	held := c.Lookup(&active.Digest)

	revoked := grant("a/key", 1, digest(1))
	revoked.State = index.StateRevoked
	c.Put("a/key", []*index.Grant{revoked})
	if claims := c.Lookup(&active.Digest); len(claims) != 1 || claims[0] != revoked {
		t.Error("the former grant is still found")
	}
	if len(held) != 1 || held[0] != active {
		t.Error("what a reader holds has changed under its hands")
	}
}

func TestOtherClaimsSurvive(t *testing.T) {
	put := func(c *index.Credentials, object string, second int, digests ...token.Digest) {
		grants := make([]*index.Grant, 0, len(digests))
		for _, d := range digests {
			grants = append(grants, grant(object, second, d))
		}
		c.Put(object, grants)
	}
	for name, test := range map[string]struct {
		change func(*index.Credentials)
		want   []string // who claims digest 1
		count  int
	}{
		"the oldest goes":        {func(c *index.Credentials) { put(c, "a/1", 1) }, []string{"b/2", "c/3"}, 1},
		"one between goes":       {func(c *index.Credentials) { put(c, "b/2", 2) }, []string{"a/1", "c/3"}, 1},
		"the youngest goes":      {func(c *index.Credentials) { put(c, "c/3", 3) }, []string{"a/1", "b/2"}, 1},
		"one claims another":     {func(c *index.Credentials) { put(c, "a/1", 1, digest(2)) }, []string{"b/2", "c/3"}, 2},
		"one claims another too": {func(c *index.Credentials) { put(c, "b/2", 2, digest(1), digest(2)) }, []string{"a/1", "b/2", "c/3"}, 2},
		"a stranger goes":        {func(c *index.Credentials) { put(c, "d/4", 4) }, []string{"a/1", "b/2", "c/3"}, 1},
		"all go": {func(c *index.Credentials) {
			for _, name := range c.Objects() {
				c.Put(name, nil)
			}
		}, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := index.NewCredentials()
			put(c, "b/2", 2, digest(1))
			put(c, "c/3", 3, digest(1))
			put(c, "a/1", 1, digest(1))
			test.change(c)
			wantHolders(t, c, digest(1), test.want...)
			if c.Len() != test.count {
				t.Errorf("%d digests, want %d", c.Len(), test.count)
			}
		})
	}
}

func TestGrowth(t *testing.T) {
	const count = 100_000
	c := index.NewCredentials()
	grants := make([]*index.Grant, count)
	for n := range grants {
		grants[n] = grant(fmt.Sprint("a/", n), 1, digest(n))
		c.Put(grants[n].Name, grants[n:n+1])
	}
	found := func(n int) bool {
		claims := c.Lookup(&grants[n].Digest)
		return len(claims) == 1 && claims[0] == grants[n]
	}
	if c.Len() != count {
		t.Errorf("%d digests, want %d", c.Len(), count)
	}
	for n := range grants {
		if !found(n) {
			t.Fatalf("digest %d of %d is lost", n, count)
		}
	}
	for n := 0; n < count; n += 2 {
		c.Put(grants[n].Name, nil)
	}
	if c.Len() != count/2 {
		t.Errorf("%d digests, want %d", c.Len(), count/2)
	}
	for n := range grants {
		if found(n) != (n%2 == 1) {
			t.Fatalf("after half of the digests went, digest %d is found: %t", n, found(n))
		}
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	c := index.NewCredentials()
	for n := range 1000 {
		name := fmt.Sprint("a/", n)
		c.Put(name, []*index.Grant{grant(name, 1, digest(n))})
	}
	known, unknown := digest(500), digest(-1)
	if allocations := testing.AllocsPerRun(100, func() {
		if len(c.Lookup(&known)) != 1 || len(c.Lookup(&unknown)) != 0 {
			t.Fatal("not found as expected")
		}
	}); allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, count := range []int{1_000, 100_000} {
		c := index.NewCredentials()
		digests := make([]token.Digest, count)
		for n := range digests {
			digests[n] = digest(n)
			name := fmt.Sprint("a/", n)
			c.Put(name, []*index.Grant{grant(name, 1, digests[n])})
		}
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if len(c.Lookup(&digests[n%count])) != 1 {
					b.Fatal("not found")
				}
			}
		})
	}
}

// FuzzCredentials compares the index with a plain map after any series of changes. Each pair of bytes says which of four
// objects changes, and which of eight digests it has then.
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
			var grants []*index.Grant
			for n := range 8 {
				if has&(1<<n) != 0 {
					// All in one bucket, and next to each other.
					d := token.Digest{31: byte(n)}
					binary.LittleEndian.PutUint64(d[:], 64*uint64(n))
					grants = append(grants, grant(object, int(changes[0]%4), d))
				}
			}
			c.Put(object, grants)
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
	for n := range 300 { // More than the first table's buckets.
		name := fmt.Sprintf("shop/%d", n%100)
		c.Put(fmt.Sprint(n), []*index.Grant{grant(name, 1, digest(n%200))})
	}
	for name, want := range map[string]int{"shop/7": 3, "shop/99": 3, "shop/100": 0} {
		found := c.Find(func(g *index.Grant) bool { return g.Name == name })
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

// TestPutOfTheSameChangesNothing checks that what says nothing new, such as when a key was last used, leaves the index as
// it is, and that anything else does not.
func TestPutOfTheSameChangesNothing(t *testing.T) {
	full := func() *index.Grant {
		g := grant("a/key", 1, digest(1))
		g.CredentialID, g.Tenant, g.NotAfter = "7Hk2PqZx", index.TenantID{1}, 5
		g.Granted, g.Asked = []keysv1alpha1.Scope{"products:read"}, []keysv1alpha1.Scope{"products:*"}
		g.Allowlists = [2]index.Allowlist{index.NewAllowlist([]keysv1alpha1.CIDR{"10.0.0.0/8"}), index.NewAllowlist([]keysv1alpha1.CIDR{"fd00::/8"})}
		g.Meter = meter("one")
		return g
	}
	c := index.NewCredentials()
	before := full()
	c.Put("a/key", []*index.Grant{before})
	c.Put("a/key", []*index.Grant{full()})
	d := digest(1)
	if got := c.Lookup(&d); got[0] != before {
		t.Error("the grant was replaced by one that is the same")
	}
	for name, change := range map[string]func(*index.Grant){
		"id":      func(g *index.Grant) { g.CredentialID = "anotherI" },
		"created": func(g *index.Grant) { g.Created = time.Unix(2, 0) },
		"tenant":  func(g *index.Grant) { g.Tenant = index.TenantID{2} },
		"state":   func(g *index.Grant) { g.State = index.StateRevoked },
		"end":     func(g *index.Grant) { g.NotAfter = 6 },
		"granted": func(g *index.Grant) { g.Granted = []keysv1alpha1.Scope{"products:write"} },
		"asked":   func(g *index.Grant) { g.Asked = nil },
		"status's allowlist": func(g *index.Grant) {
			g.Allowlists[0] = index.NewAllowlist([]keysv1alpha1.CIDR{"10.0.0.0/9"})
		},
		"spec's allowlist": func(g *index.Grant) { g.Allowlists[1] = index.NewAllowlist(nil) },
		"a block that can't be read": func(g *index.Grant) {
			g.Allowlists[1] = index.NewAllowlist([]keysv1alpha1.CIDR{"banana"})
		},
		"meter": func(g *index.Grant) { g.Meter = meter("another") },
	} {
		c.Put("a/key", []*index.Grant{before})
		changed := full()
		change(changed)
		c.Put("a/key", []*index.Grant{changed})
		if got := c.Lookup(&d); got[0] != changed {
			t.Errorf("%s: the change was ignored", name)
		}
	}
}

type meter string

func (meter) Used(time.Time) {}
