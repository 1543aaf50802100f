package index

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// Credentials finds grants by digest. One goroutine at a time may write; readers need nothing.
//
//	hash ─┬─ first bits ─▶ directory ─▶ bucket ─┬─ tags ─▶ claim ─▶ terms, by number
//	      └─ next 8 bits ──────────────────────▶┘
//
// It is an extendible hash table of immutable buckets: the writer builds a new bucket beside the old one and swaps the
// directory's pointer. A bucket that gets too large is split on its own. Only the directory is ever copied as a whole,
// and it has one pointer for some dozens of credentials. Buckets hold no pointers to single credentials, so the garbage
// collector has next to nothing to scan.
//
// Users can choose digests (spec.digest). So digests are hashed with a random seed: nobody can make many of them fall
// into one bucket, except by claiming the same digest many times.
type Credentials struct {
	directory atomic.Pointer[directory]
	terms     *termsTable
	size      atomic.Int64
	seed      maphash.Seed

	// Only the writer uses the following.
	names  names
	claims int
}

// directory has a bucket for every value of the first bits of a hash. A bucket that is for fewer bits is in it several
// times.
type directory struct {
	depth   uint8
	buckets []atomic.Pointer[bucket]
}

const (
	// initialDepth and maxDepth bound the directory. Tags are the 8 bits after maxDepth's.
	initialDepth = 4
	maxDepth     = 24
	// minMean is the least number of claims per bucket on average, whatever the digests are.
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

// tagOf returns the tag of a hash.
func tagOf(hash uint32) uint8 { return uint8(hash) } //nolint:gosec // The last 8 bits are meant.

func (d *directory) at(hash uint32) *atomic.Pointer[bucket] { return &d.buckets[hash>>(32-d.depth)] }

// Lookup finds the grant that a digest stands for, as seen by a tenant. If the tenant has claims of the digest, the
// minted one answers, or else the oldest. If it has none, or no tenant is given, the minted claim of another tenant
// answers; and if the token was minted for nobody, the oldest claim, provided that all claims are one tenant's. Lookup
// fills in the grant and returns the terms, or nil if nobody claims the digest.
//
// If several tenants have brought the digest, a tenant without a claim gets nobody's key, in StateContested: the first
// to bring it must not speak for the others. And if a key whose token was minted here is revoked, the token is revoked
// with it: every claim of the digest, by any tenant, is StateRevoked. Nobody can do that to a token that was made
// elsewhere.
func (c *Credentials) Lookup(digest *token.Digest, tenant *TenantID, grant *Grant) *Terms {
	hash := c.hash(digest)
	for {
		d := c.directory.Load()
		at := d.at(hash)
		b := at.Load()
		p, state := b.find(tagOf(hash), digest, tenant)
		if p == "" {
			return nil
		}
		if state == StateContested {
			*grant = Grant{State: StateContested}
			return &contested
		}
		terms := c.terms.at(p.terms())
		// While readers can find the bucket, the terms of its claims are in use: they are released after it is replaced.
		if c.current(d, at, b) {
			p.grant(terms, grant)
			grant.State = state
			return terms
		}
	}
}

// contested are the terms that belong to StateContested.
var contested Terms

// current reports whether readers still find the bucket.
func (c *Credentials) current(d *directory, at *atomic.Pointer[bucket], b *bucket) bool {
	return at.Load() == b && c.directory.Load() == d
}

// Find returns the claims for which wanted is true. Those of one digest are in order: the minted one first, then by
// age. It scans the whole index, so it is for people, not for requests.
func (c *Credentials) Find(wanted func(*Claim) bool) []*Claim {
	var found []*Claim
	c.walk(func(claim *Claim) {
		if wanted(claim) {
			found = append(found, claim)
		}
	})
	return found
}

// walk calls visit with every claim. A claim that changes meanwhile is seen as it was or as it is.
func (c *Credentials) walk(visit func(*Claim)) {
	var claims []Claim
	for hash := uint64(0); hash < 1<<32; {
		d := c.directory.Load()
		at := d.at(uint32(hash))
		b := at.Load()
		claims = make([]Claim, b.count)
		valid := true
		for i := range claims {
			p := b.at(i)
			terms := c.terms.at(p.terms())
			valid = valid && terms != nil
			if valid {
				p.claim(terms, &claims[i])
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
