package index

import (
	"encoding/binary"
	"math/bits"
	"strings"

	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// splitAt is the maximum number of claims in a bucket. A change copies its bucket, so smaller buckets make changes
// cheaper, and larger ones take less memory besides the claims.
const splitAt = 64

// bucket holds the claims of the digests whose hashes begin with the same bits. It is immutable, and so is what it
// points to.
type bucket struct {
	// tags holds 8 further bits of each claim's hash, so that reading a few bytes leaves one claim or none to compare.
	// They are part of the bucket itself: with many buckets, reading any other place in memory is likely to miss the
	// caches.
	tags [splitAt]byte
	// places are the offsets of the claims in data, in units of alignment.
	places [splitAt]uint16
	// data holds the packed claims one after the other. Among those of one digest, the minted one comes first; the others
	// follow by the age of their objects, the oldest first.
	data string
	// more holds the tags and places of the claims beyond splitAt, which only exist if a digest is claimed very often.
	more []place
	// count is the number of claims.
	count uint32
	// depth is how many bits of their hashes the claims share.
	depth uint8
}

// place is the offset and the tag of a claim.
type place struct {
	at  uint32
	tag uint8
}

// at returns a claim.
func (b *bucket) at(i int) packedClaim {
	at := 0
	if i < len(b.places) {
		at = int(b.places[i])
	} else {
		at = int(b.more[i-len(b.places)].at)
	}
	return packedClaim(b.data[at*alignment:])
}

func (b *bucket) tag(i int) uint8 {
	if i < len(b.tags) {
		return b.tags[i]
	}
	return b.more[i-len(b.tags)].tag
}

// next returns the index of the first claim, starting with the given one, that has the tag, or -1.
func (b *bucket) next(from int, tag uint8) int {
	const low, high = 0x0101010101010101, 0x8080808080808080
	wanted := low * uint64(tag)
	for at := from &^ 7; at < min(len(b.tags), int(b.count)); at += 8 {
		word := binary.LittleEndian.Uint64(b.tags[at:]) ^ wanted
		// This finds every byte that is 0, and maybe one above it. The caller compares digests, so that does no harm.
		found := (word - low) &^ word & high
		if at < from {
			found &= ^uint64(0) << (8 * uint(from&7))
		}
		if found != 0 {
			if i := at + bits.TrailingZeros64(found)/8; i < int(b.count) {
				return i
			}
			return -1
		}
	}
	for i := max(from, len(b.tags)); i < int(b.count); i++ {
		if b.tag(i) == tag {
			return i
		}
	}
	return -1
}

// find returns the tenant's first claim of a digest, and the state of the key according to all claims of the digest. If
// the tenant has no claim, or is nil, it returns the minted claim. If no claim is minted either, it returns that of the
// only tenant that has any; and if there are several, any of them with StateContested. It returns "" if nobody claims
// the digest.
func (b *bucket) find(tag uint8, digest *token.Digest, tenant *TenantID) (found packedClaim, state State) {
	var first packedClaim
	contested := false
	for i := b.next(0, tag); i >= 0; i = b.next(i+1, tag) {
		p := b.at(i)
		if !p.isOf(digest) {
			continue
		}
		if first == "" {
			first = p
		}
		if tenant != nil && p.isTenants(tenant) {
			// The minted claim comes first, so only the first one can bar this one.
			if first.bars() {
				return p, StateRevoked
			}
			return p, p.state()
		}
		contested = contested || !p.sharesTenant(first)
		if tenant == nil && (contested || first.minted()) {
			break
		}
	}
	switch {
	case first == "":
		return "", StateActive
	case contested && !first.minted():
		return first, StateContested
	}
	return first, first.state()
}

// holder returns the index of an object's claim of a digest, or -1.
func (b *bucket) holder(tag uint8, digest *token.Digest, object string) int {
	for i := b.next(0, tag); i >= 0; i = b.next(i+1, tag) {
		if p := b.at(i); p.isOf(digest) && p.name() == object {
			return i
		}
	}
	return -1
}

// has reports whether there is a claim of a digest.
func (b *bucket) has(tag uint8, digest *token.Digest) bool {
	found, _ := b.find(tag, digest, nil)
	return found != ""
}

// place returns the index at which a claim has to be inserted to keep those of its digest in order.
func (b *bucket) place(tag uint8, f *claimFields) int {
	for i := b.next(0, tag); i >= 0; i = b.next(i+1, tag) {
		if p := b.at(i); p.isOf(&f.digest) && f.precedes(p) {
			return i
		}
	}
	return int(b.count)
}

// precedes reports whether a claim comes before another of its digest: the minted one first, then that of the older
// object. Names decide between objects of the same second, so that all verifiers and the controller decide alike.
func (f *claimFields) precedes(p packedClaim) bool {
	switch {
	case f.minted != p.minted():
		return f.minted
	case f.created != p.created():
		return f.created < p.created()
	}
	return f.name < p.name()
}

// draft is a bucket under construction.
type draft struct {
	bucket
	data strings.Builder
}

func newDraft(depth uint8, length int) *draft {
	d := &draft{bucket: bucket{depth: depth}}
	d.data.Grow(length)
	return d
}

func (d *draft) add(tag uint8, p packedClaim) {
	at := d.data.Len() / alignment
	if i := int(d.count); i < len(d.tags) {
		d.tags[i], d.places[i] = tag, uint16(at) //nolint:gosec // 64 claims of 700 bytes at most: see the schema.
	} else {
		d.more = append(d.more, place{uint32(at), tag}) //nolint:gosec // A bucket is not so large.
	}
	d.count++
	d.data.WriteString(string(p.alone()))
}

// done returns the bucket. Nothing may be added afterwards.
func (d *draft) done() *bucket {
	b := d.bucket
	b.data = d.data.String()
	return &b
}

// update returns a copy of the bucket in which a claim replaces one of the same digest, object and ID.
func (b *bucket) update(i int, f *claimFields) *bucket {
	updated := *b
	former := b.at(i)
	at := len(b.data) - len(former)
	updated.data = b.data[:at] + string(f.pack()) + string(former[former.length():])
	return &updated
}

// insert returns a copy of the bucket with one more claim.
func (b *bucket) insert(tag uint8, f *claimFields) *bucket {
	p := f.pack()
	d := newDraft(b.depth, len(b.data)+len(p))
	at := b.place(tag, f)
	for i := range int(b.count) + 1 {
		if i == at {
			d.add(tag, p)
		}
		if i < int(b.count) {
			d.add(b.tag(i), b.at(i))
		}
	}
	return d.done()
}

// remove returns a copy of the bucket without one of its claims.
func (b *bucket) remove(at int) *bucket {
	d := newDraft(b.depth, len(b.data))
	for i := range int(b.count) {
		if i != at {
			d.add(b.tag(i), b.at(i))
		}
	}
	return d.done()
}

// split returns two buckets, with the claims whose next bit is 0 and 1.
func (b *bucket) split(hash func(*token.Digest) uint32) (halves [2]*bucket) {
	bits := make([]int, b.count)
	var length [2]int
	for i := range bits {
		p := b.at(i)
		digest := p.digest()
		bits[i] = int(hash(&digest) >> (31 - b.depth) & 1)
		length[bits[i]] += p.length()
	}
	for half := range halves {
		d := newDraft(b.depth+1, length[half])
		for i := range bits {
			if bits[i] == half {
				d.add(b.tag(i), b.at(i))
			}
		}
		halves[half] = d.done()
	}
	return halves
}
