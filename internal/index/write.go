package index

import (
	"hash/maphash"
	"slices"
	"sync/atomic"

	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// Put replaces the claims of an object. Without claims, it removes the object. Digests that are claimed before and
// after can be found at every moment in between. Equal claims change nothing. Only the writer may call it.
func (c *Credentials) Put(object string, claims []*Claim) {
	claims = distinct(claims)
	before := c.of(object)
	if c.same(before, object, claims, true) {
		return
	}
	name := maphash.String(c.seed, object)
	for _, claim := range claims {
		c.put(name, object, claim)
	}
	for i := range before {
		if !slices.ContainsFunc(claims, func(claim *Claim) bool { return claim.Digest == before[i] }) {
			c.drop(name, object, &before[i])
		}
	}
}

// Holds reports whether the claims of an object are the given ones, in everything that affects decisions. Only the
// writer may call it.
func (c *Credentials) Holds(object string, claims []*Claim) bool {
	return c.same(c.of(object), object, distinct(claims), false)
}

// Held fills in the grant that an object has of a digest, as it was put, and reports whether there is one. Unlike
// Lookup, it ignores the claims of other objects. Only the writer may call it.
func (c *Credentials) Held(object string, digest *token.Digest, grant *Grant) bool {
	hash := c.hash(digest)
	b := c.directory.Load().at(hash).Load()
	i := b.holder(tagOf(hash), digest, object)
	if i < 0 {
		return false
	}
	p := b.at(i)
	p.grant(c.terms.at(p.terms()), grant)
	return true
}

// Objects returns the names of the objects that have claims in the index. Only the writer may call it.
func (c *Credentials) Objects() []string {
	var objects []string
	c.walk(func(claim *Claim) {
		if c.of(claim.Name)[0] == claim.Digest {
			objects = append(objects, claim.Name)
		}
	})
	return objects
}

// of returns the digests that an object claims.
func (c *Credentials) of(object string) []token.Digest {
	var digests []token.Digest
	c.names.each(maphash.String(c.seed, object), func(hash uint32) {
		b := c.directory.Load().at(hash).Load()
		for i := b.next(0, tagOf(hash)); i >= 0; i = b.next(i+1, tagOf(hash)) {
			p := b.at(i)
			if p.name() != object {
				continue
			}
			if digest := p.digest(); c.hash(&digest) == hash && !slices.Contains(digests, digest) {
				digests = append(digests, digest)
			}
		}
	})
	return digests
}

// same reports whether an object, which claims the digests, has exactly the given claims. It compares usage slots only
// if slots is set.
func (c *Credentials) same(digests []token.Digest, object string, claims []*Claim, slots bool) bool {
	if len(digests) != len(claims) {
		return false
	}
	for _, claim := range claims {
		hash := c.hash(&claim.Digest)
		b := c.directory.Load().at(hash).Load()
		i := b.holder(tagOf(hash), &claim.Digest, object)
		if i < 0 {
			return false
		}
		held := b.at(i).unpack()
		terms, ok := c.terms.find(claim.terms())
		wanted := fieldsOf(claim, object, terms)
		// When a credential was issued never changes, and no decision depends on it.
		wanted.issued = held.issued
		if !slots {
			wanted.usageSlot = held.usageSlot
		}
		if !ok || wanted != held {
			return false
		}
	}
	return true
}

// put adds a claim of an object, or replaces the one of the same digest.
func (c *Credentials) put(name uint64, object string, claim *Claim) {
	hash := c.hash(&claim.Digest)
	f := fieldsOf(claim, object, c.terms.hold(claim.terms()))
	b := c.directory.Load().at(hash).Load()
	if i := b.holder(tagOf(hash), &claim.Digest, object); i >= 0 {
		former := b.at(i)
		if f.created == former.created() && f.minted == former.minted() && f.id == former.id() {
			c.publish(hash, b.update(i, &f))
		} else {
			// Its position among the claims of its digest may change.
			c.publish(hash, b.remove(i).insert(tagOf(hash), &f))
		}
		c.terms.release(former.terms())
		return
	}
	if !b.has(tagOf(hash), &claim.Digest) {
		c.size.Add(1)
	}
	c.publish(hash, b.insert(tagOf(hash), &f))
	c.names.add(name, hash)
	c.claims++
	c.split(hash)
}

// drop removes an object's claim of a digest.
func (c *Credentials) drop(name uint64, object string, digest *token.Digest) {
	hash := c.hash(digest)
	b := c.directory.Load().at(hash).Load()
	i := b.holder(tagOf(hash), digest, object)
	former := b.at(i).terms()
	b = b.remove(i)
	c.publish(hash, b)
	c.terms.release(former)
	c.names.remove(name, hash)
	c.claims--
	if !b.has(tagOf(hash), digest) {
		c.size.Add(-1)
	}
}

// publish makes a bucket visible to readers, for all hashes that it is for.
func (c *Credentials) publish(hash uint32, b *bucket) {
	d := c.directory.Load()
	beneath := d.depth - b.depth
	first := hash >> (32 - d.depth) >> beneath << beneath
	for i := range uint32(1) << beneath {
		d.buckets[first+i].Store(b)
	}
}

// split splits the bucket of a hash while it is too large, unless that doesn't help: claims of one digest stay
// together.
func (c *Credentials) split(hash uint32) {
	for {
		d := c.directory.Load()
		b := d.at(hash).Load()
		if b.count <= splitAt || b.depth == maxDepth || c.claims>>(b.depth+1) < minMean {
			return
		}
		if b.depth == d.depth {
			d = d.double()
			c.directory.Store(d)
		}
		halves := b.split(c.hash)
		bit := uint32(1) << (31 - b.depth)
		c.publish(hash&^bit, halves[0])
		c.publish(hash|bit, halves[1])
	}
}

// double returns a directory with one bit more.
func (d *directory) double() *directory {
	grown := &directory{depth: d.depth + 1, buckets: make([]atomic.Pointer[bucket], 2*len(d.buckets))}
	for i := range grown.buckets {
		grown.buckets[i].Store(d.buckets[i/2].Load())
	}
	return grown
}
