package index

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// Credentials finds grants by digest. One goroutine at a time may write; readers need nothing.
//
//	hash ─┬─ first bits ─▶ directory ─▶ bucket ─┬─ tags ─▶ record ─▶ terms, by number
//	      └─ next 8 bits ──────────────────────▶┘
//
// It is an extendible hash table of buckets that don't change: a writer builds the new bucket beside the old one and swaps
// the directory's pointer. A bucket that gets too large is split, and alone: the directory, of one pointer for some dozens
// of credentials, is all that is ever copied as a whole. Buckets hold no pointers to anything of a single credential, so the
// garbage collector has next to nothing to walk.
//
// Digests are what users say they are (spec.digest), so they are hashed with a seed of the process' own: nobody can have many
// fall into one bucket, but by claiming the same digest many times.
type Credentials struct {
	directory atomic.Pointer[directory]
	terms     *termsTable
	size      atomic.Int64
	seed      maphash.Seed

	// What follows is the writer's own.
	names   names
	records int
}

// directory has a bucket for every value of the first bits of a hash. Buckets of fewer bits are in it several times.
type directory struct {
	depth   uint8
	buckets []atomic.Pointer[bucket]
}

const (
	// initialDepth and maxDepth bound the directory. Tags are the 8 bits after maxDepth's.
	initialDepth = 4
	maxDepth     = 24
	// minMean is how many records there are at least in a bucket on average, whatever digests there are.
	minMean = 8
)

// NewCredentials returns an empty index.
func NewCredentials() *Credentials {
	c := &Credentials{terms: newTermsTable(), seed: maphash.MakeSeed()}
	d := &directory{depth: initialDepth, buckets: make([]atomic.Pointer[bucket], 1<<initialDepth)}
	for i := range d.buckets {
		d.buckets[i].Store(&bucket{depth: initialDepth})
	}
	c.directory.Store(d)
	return c
}

func (c *Credentials) hash(digest *token.Digest) uint32 {
	return uint32(maphash.Bytes(c.seed, digest[:]) >> 32)
}

func tagOf(hash uint32) uint8 { return uint8(hash) } //nolint:gosec // The last 8 bits are meant.

func (d *directory) at(hash uint32) *atomic.Pointer[bucket] { return &d.buckets[hash>>(32-d.depth)] }

// Lookup finds what a digest stands for to a tenant: its minted claim, or else its oldest. Where the tenant has none, or none is
// named, the minted claim of another tenant is found; and where the token was minted for nobody, the oldest claim, if all are
// one tenant's. It fills in the grant and returns the terms, or nil where nobody claims the digest.
//
// Of a digest that several tenants bring, a tenant without a claim finds nobody's key, in StateContested: whoever brought it first
// must not speak for the others. And a key whose token was minted here takes the token with it when it is revoked: every claim of
// that digest is StateRevoked, whoever's it is. Nobody can do that to a token that was made elsewhere.
func (c *Credentials) Lookup(digest *token.Digest, tenant *TenantID, grant *Grant) *Terms {
	hash := c.hash(digest)
	for {
		d := c.directory.Load()
		at := d.at(hash)
		b := at.Load()
		e, state := b.find(tagOf(hash), digest, tenant)
		if e == "" {
			return nil
		}
		if state == StateContested {
			*grant = Grant{State: StateContested}
			return &contested
		}
		terms := c.terms.at(e.terms())
		// While the bucket can be found, the terms of its records are theirs: their numbers are released after it is replaced.
		if c.current(d, at, b) {
			e.grant(terms, grant)
			grant.State = state
			return terms
		}
	}
}

// contested are the terms of nobody's key.
var contested Terms

// current says whether a bucket is still what readers find.
func (c *Credentials) current(d *directory, at *atomic.Pointer[bucket], b *bucket) bool {
	return at.Load() == b && c.directory.Load() == d
}

// Find returns the claims that are wanted, those of a digest with the minted one first and then by age. It looks at every one, so it is for what people ask, not
// for requests.
func (c *Credentials) Find(wanted func(*Claim) bool) []*Claim {
	var found []*Claim
	c.walk(func(claim *Claim) {
		if wanted(claim) {
			found = append(found, claim)
		}
	})
	return found
}

// walk calls with every claim. What changes meanwhile is seen as it was or as it is.
func (c *Credentials) walk(visit func(*Claim)) {
	var claims []Claim
	for hash := uint64(0); hash < 1<<32; {
		d := c.directory.Load()
		at := d.at(uint32(hash))
		b := at.Load()
		claims = make([]Claim, b.count)
		valid := true
		for i := range claims {
			e := b.at(i)
			terms := c.terms.at(e.terms())
			valid = valid && terms != nil
			if valid {
				e.claim(terms, &claims[i])
			}
		}
		if !valid || !c.current(d, at, b) {
			continue
		}
		for i := range claims {
			visit(&claims[i])
		}
		hash += 1 << (32 - b.depth)
	}
}

// Len returns the number of digests in the index.
func (c *Credentials) Len() int { return int(c.size.Load()) }
