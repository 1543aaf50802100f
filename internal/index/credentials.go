package index

import (
	"encoding/binary"
	"slices"
	"sync/atomic"

	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// Credentials finds grants by digest. One goroutine at a time may write; readers need nothing.
//
// It is a hash table of immutable chains: a writer builds the new chain beside the old one and swaps the bucket's
// pointer. A digest is as good as random, so its first bytes serve as the hash.
type Credentials struct {
	table atomic.Pointer[table]
	size  atomic.Int64
	// byObject is the writer's own: the grants that each object has in the table.
	byObject map[string][]*Grant
}

type table struct {
	mask    uint64
	buckets []atomic.Pointer[entry]
}

// entry is a link of a chain. Neither it nor what it points to changes.
type entry struct {
	digest token.Digest
	// claims are the grants of every object that claims the digest, the oldest object first.
	claims []*Grant
	next   *entry
}

const initialBuckets = 64

// NewCredentials returns an empty index.
func NewCredentials() *Credentials {
	c := &Credentials{byObject: map[string][]*Grant{}}
	c.table.Store(newTable(initialBuckets))
	return c
}

func newTable(buckets int) *table {
	return &table{mask: uint64(buckets) - 1, buckets: make([]atomic.Pointer[entry], buckets)} //nolint:gosec // A positive power of two.
}

func (t *table) bucket(digest *token.Digest) *atomic.Pointer[entry] {
	return &t.buckets[binary.LittleEndian.Uint64(digest[:8])&t.mask]
}

// Lookup returns the grants of a digest, the oldest claim first. The caller must not change what it gets.
func (c *Credentials) Lookup(digest *token.Digest) []*Grant {
	for e := c.table.Load().bucket(digest).Load(); e != nil; e = e.next {
		if e.digest == *digest {
			return e.claims
		}
	}
	return nil
}

// Find returns the grants that are wanted. It looks at every one, so it is for what people ask, not for requests.
func (c *Credentials) Find(wanted func(*Grant) bool) []*Grant {
	var found []*Grant
	t := c.table.Load()
	for i := range t.buckets {
		for e := t.buckets[i].Load(); e != nil; e = e.next {
			for _, claim := range e.claims {
				if wanted(claim) {
					found = append(found, claim)
				}
			}
		}
	}
	return found
}

// Len returns the number of digests in the index.
func (c *Credentials) Len() int { return int(c.size.Load()) }

// Objects returns the names of the objects that have grants in the index. For the writer only.
func (c *Credentials) Objects() []string {
	names := make([]string, 0, len(c.byObject))
	for name := range c.byObject {
		names = append(names, name)
	}
	return names
}

// Of returns the grants that an object has in the index. For the writer only, who must not change what it gets.
func (c *Credentials) Of(object string) []*Grant { return c.byObject[object] }

// Put makes grants those of an object, instead of the ones it had. With none, the object is forgotten. What is granted
// before and after is found at every moment in between. Grants that are the same as before change nothing.
func (c *Credentials) Put(object string, grants []*Grant) {
	before := c.byObject[object]
	if slices.EqualFunc(before, grants, func(g, h *Grant) bool { return g.Equal(h) && g.Meter == h.Meter }) {
		return
	}
	for _, grant := range grants {
		c.replace(grant.Digest, before, grant)
	}
	for _, old := range before {
		if !slices.ContainsFunc(grants, func(g *Grant) bool { return g.Digest == old.Digest }) {
			c.replace(old.Digest, before, nil)
		}
	}
	if len(grants) == 0 {
		delete(c.byObject, object)
		return
	}
	c.byObject[object] = grants
}

// replace takes the grants of one object out of a digest's claims and puts another in their place, in one swap.
func (c *Credentials) replace(digest token.Digest, before []*Grant, grant *Grant) {
	bucket := c.table.Load().bucket(&digest)
	var claims []*Grant
	var chain *entry
	known := false
	for e := bucket.Load(); e != nil; e = e.next {
		if e.digest != digest {
			chain = &entry{digest: e.digest, claims: e.claims, next: chain}
			continue
		}
		known = true
		for _, claim := range e.claims {
			if !slices.Contains(before, claim) {
				claims = append(claims, claim)
			}
		}
	}
	if grant != nil {
		at, _ := slices.BinarySearchFunc(claims, grant, func(claim, grant *Grant) int {
			if claim.older(grant) {
				return -1
			}
			return 1
		})
		claims = slices.Insert(claims, at, grant)
	}
	if len(claims) > 0 {
		chain = &entry{digest: digest, claims: claims, next: chain}
	}
	bucket.Store(chain)
	switch {
	case !known && len(claims) > 0:
		c.grow(int(c.size.Add(1)))
	case known && len(claims) == 0:
		c.size.Add(-1)
	}
}

// grow doubles the table once there are more digests than buckets. Readers go on with the old one until the new one is
// complete.
func (c *Credentials) grow(size int) {
	old := c.table.Load()
	if size <= len(old.buckets) {
		return
	}
	grown := newTable(2 * len(old.buckets))
	for i := range old.buckets {
		for e := old.buckets[i].Load(); e != nil; e = e.next {
			bucket := grown.bucket(&e.digest)
			bucket.Store(&entry{digest: e.digest, claims: e.claims, next: bucket.Load()})
		}
	}
	c.table.Store(grown)
}
