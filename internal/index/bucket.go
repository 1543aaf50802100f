package index

import (
	"encoding/binary"
	"math/bits"
	"strings"

	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// splitAt is the maximum number of records in a bucket. A change copies its bucket, so smaller buckets make changes
// cheaper, and larger ones take less memory besides the records.
const splitAt = 64

// bucket holds the records of the digests whose hashes begin with the same bits. It is immutable, and so is what it
// points to.
type bucket struct {
	// tags has 8 further bits of each record's hash, so that reading a few bytes leaves one record or none to compare.
	// They are part of the bucket itself: with many buckets, reading any other place in memory is likely to miss the
	// caches.
	tags [splitAt]byte
	// places are the offsets of the records in data, in units of alignment.
	places [splitAt]uint16
	// data has the records one after the other. Among those of one digest, the one whose token was minted comes first; the
	// others follow by the age of their objects, the oldest first.
	data string
	// more has the tags and places of the records beyond splitAt, which only exist if a digest is claimed very often.
	more []place
	// count is the number of records.
	count uint32
	// depth is how many bits of their hashes the records share.
	depth uint8
}

// place is the offset and the tag of a record.
type place struct {
	at  uint32
	tag uint8
}

// at returns a record.
func (b *bucket) at(i int) entry {
	at := 0
	if i < len(b.places) {
		at = int(b.places[i])
	} else {
		at = int(b.more[i-len(b.places)].at)
	}
	return entry(b.data[at*alignment:])
}

func (b *bucket) tag(i int) uint8 {
	if i < len(b.tags) {
		return b.tags[i]
	}
	return b.more[i-len(b.tags)].tag
}

// next returns the index of the first record, starting with the given one, that has the tag, or -1.
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

// find returns the first record of a digest that belongs to the tenant, and the state of the key according to all
// claims of the digest. If the tenant has no claim, or is nil, it returns the record of the minted token; otherwise
// that of the only tenant that has any; and if there are several, any of them with StateContested. It returns "" if
// nobody claims the digest.
func (b *bucket) find(tag uint8, digest *token.Digest, tenant *TenantID) (found entry, state State) {
	var first entry
	contested := false
	for i := b.next(0, tag); i >= 0; i = b.next(i+1, tag) {
		e := b.at(i)
		if !e.isOf(digest) {
			continue
		}
		if first == "" {
			first = e
		}
		if tenant != nil && e.isTenants(tenant) {
			// A minted token's record comes first, so only the first one can bar this one.
			if first.bars() {
				return e, StateRevoked
			}
			return e, e.state()
		}
		contested = contested || !e.sharesTenant(first)
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

// holder returns the index of an object's record of a digest, or -1.
func (b *bucket) holder(tag uint8, digest *token.Digest, object string) int {
	for i := b.next(0, tag); i >= 0; i = b.next(i+1, tag) {
		if e := b.at(i); e.isOf(digest) && e.name() == object {
			return i
		}
	}
	return -1
}

// has reports whether there is a record of a digest.
func (b *bucket) has(tag uint8, digest *token.Digest) bool {
	found, _ := b.find(tag, digest, nil)
	return found != ""
}

// place returns the index at which a record has to be inserted to keep those of its digest in order.
func (b *bucket) place(tag uint8, r *record) int {
	for i := b.next(0, tag); i >= 0; i = b.next(i+1, tag) {
		if e := b.at(i); e.isOf(&r.digest) && r.precedes(e) {
			return i
		}
	}
	return int(b.count)
}

// precedes reports whether a record comes before another of its digest: the minted one first, then that of the older
// object. Names decide between objects of the same second, so that all verifiers and the controller decide alike.
func (r *record) precedes(e entry) bool {
	switch {
	case r.minted != e.minted():
		return r.minted
	case r.created != e.created():
		return r.created < e.created()
	}
	return r.name < e.name()
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

func (d *draft) add(tag uint8, e entry) {
	at := d.data.Len() / alignment
	if i := int(d.count); i < len(d.tags) {
		d.tags[i], d.places[i] = tag, uint16(at) //nolint:gosec // 64 records of 700 bytes at most: see the schema.
	} else {
		d.more = append(d.more, place{uint32(at), tag}) //nolint:gosec // A bucket is not so large.
	}
	d.count++
	d.data.WriteString(string(e.alone()))
}

// done returns the bucket. Nothing may be added afterwards.
func (d *draft) done() *bucket {
	b := d.bucket
	b.data = d.data.String()
	return &b
}

// update returns a copy of the bucket in which a record replaces one of the same digest, object and ID.
func (b *bucket) update(i int, r *record) *bucket {
	updated := *b
	former := b.at(i)
	at := len(b.data) - len(former)
	updated.data = b.data[:at] + string(r.entry()) + string(former[former.length():])
	return &updated
}

// insert returns a copy of the bucket with one more record.
func (b *bucket) insert(tag uint8, r *record) *bucket {
	e := r.entry()
	d := newDraft(b.depth, len(b.data)+len(e))
	at := b.place(tag, r)
	for i := range int(b.count) + 1 {
		if i == at {
			d.add(tag, e)
		}
		if i < int(b.count) {
			d.add(b.tag(i), b.at(i))
		}
	}
	return d.done()
}

// remove returns a copy of the bucket without one of its records.
func (b *bucket) remove(at int) *bucket {
	d := newDraft(b.depth, len(b.data))
	for i := range int(b.count) {
		if i != at {
			d.add(b.tag(i), b.at(i))
		}
	}
	return d.done()
}

// split returns two buckets, with the records whose next bit is 0 and 1.
func (b *bucket) split(hash func(*token.Digest) uint32) (halves [2]*bucket) {
	bits := make([]int, b.count)
	var length [2]int
	for i := range bits {
		e := b.at(i)
		digest := e.digest()
		bits[i] = int(hash(&digest) >> (31 - b.depth) & 1)
		length[bits[i]] += e.length()
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
