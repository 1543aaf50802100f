package index

import (
	"encoding/binary"
	"math/bits"

	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// splitAt is how many records a bucket may have before it is split. A change copies its bucket, so fewer make changes cheaper
// and more take less memory besides the records.
const splitAt = 64

// bucket holds the records of the digests whose hashes begin with the same bits. Neither it nor what it points to changes.
type bucket struct {
	// depth is how many bits of their hashes the records share.
	depth uint8
	// tags has 8 further bits of each record's hash, so that a look at few bytes leaves one record or none to compare. They
	// are in the bucket itself: with many buckets, every other place in memory is as good as a miss of the caches.
	tags [splitAt]byte
	// more has those of the records beyond that, which there are where a digest is claimed very often.
	more []byte
	// records of one digest are in the order of their objects' age, the oldest first.
	records []record
	// text has the id and the name of each.
	text string
}

// record is what is kept of one claim, without a pointer. Together with its text it is all there is of it.
type record struct {
	digest   token.Digest
	tenant   TenantID
	notAfter int64
	terms    uint32
	meter    Meter
	created  uint32
	issued   uint32
	// text is where in the bucket's the id begins. The name follows it.
	text    uint32
	nameLen uint16
	idLen   uint8
	state   State
}

func (b *bucket) id(r *record) string { return b.text[r.text : r.text+uint32(r.idLen)] }

func (b *bucket) name(r *record) string {
	begin := r.text + uint32(r.idLen)
	return b.text[begin : begin+uint32(r.nameLen)]
}

func (b *bucket) both(r *record) string {
	return b.text[r.text : r.text+uint32(r.idLen)+uint32(r.nameLen)]
}

func (b *bucket) tag(i int) uint8 {
	if i < len(b.tags) {
		return b.tags[i]
	}
	return b.more[i-len(b.tags)]
}

// next returns the first record from a place on whose tag is the given one, or -1.
func (b *bucket) next(from int, tag uint8) int {
	const low, high = 0x0101010101010101, 0x8080808080808080
	wanted := low * uint64(tag)
	for at := from &^ 7; at < min(len(b.tags), len(b.records)); at += 8 {
		word := binary.LittleEndian.Uint64(b.tags[at:]) ^ wanted
		// A byte that is 0 is found, and those above one may be, too: a record that is none is told by its digest.
		found := (word - low) &^ word & high
		if at < from {
			found &= ^uint64(0) << (8 * uint(from&7))
		}
		if found != 0 {
			if i := at + bits.TrailingZeros64(found)/8; i < len(b.records) {
				return i
			}
			return -1
		}
	}
	for i := max(from, len(b.tags)); i < len(b.records); i++ {
		if b.tag(i) == tag {
			return i
		}
	}
	return -1
}

// find returns the oldest record of a digest that is the tenant's, or where there is none or no tenant, the oldest of all; nil
// where there is none at all.
func (b *bucket) find(tag uint8, digest *token.Digest, tenant *TenantID) *record {
	var oldest *record
	for i := b.next(0, tag); i >= 0; i = b.next(i+1, tag) {
		r := &b.records[i]
		if r.digest != *digest {
			continue
		}
		if tenant == nil || r.tenant == *tenant {
			return r
		}
		if oldest == nil {
			oldest = r
		}
	}
	return oldest
}

// grant puts what is told of a record into a grant.
func (b *bucket) grant(r *record, terms *Terms, into *Grant) {
	into.CredentialID, into.Name, into.ScopesHeader = b.id(r), b.name(r), terms.scopesHeader
	into.Tenant, into.Issued, into.NotAfter = r.tenant, int64(r.issued), r.notAfter
	into.Meter, into.State = r.meter, r.state
}

// holder returns the place of an object's record of a digest, or -1.
func (b *bucket) holder(tag uint8, digest *token.Digest, object string) int {
	for i := b.next(0, tag); i >= 0; i = b.next(i+1, tag) {
		if r := &b.records[i]; r.digest == *digest && b.name(r) == object {
			return i
		}
	}
	return -1
}

// has says whether there is a record of a digest.
func (b *bucket) has(tag uint8, digest *token.Digest) bool { return b.find(tag, digest, nil) != nil }

// place returns where a record belongs, so that those of its digest are in order of age. Names decide between objects of the
// same second, so that every verifier and the controller decide alike.
func (b *bucket) place(tag uint8, r *record, name string) int {
	for i := b.next(0, tag); i >= 0; i = b.next(i+1, tag) {
		other := &b.records[i]
		if other.digest == r.digest && (r.created < other.created || r.created == other.created && name < b.name(other)) {
			return i
		}
	}
	return len(b.records)
}

// draft is a bucket in the making.
type draft struct {
	tags    []byte
	records []record
	text    []byte
}

func newDraft(records, text int) *draft {
	return &draft{tags: make([]byte, 0, max(records, splitAt)), records: make([]record, 0, records), text: make([]byte, 0, text)}
}

func (d *draft) add(tag uint8, r *record, text string) {
	d.tags = append(d.tags, tag)
	d.records = append(d.records, *r)
	d.records[len(d.records)-1].text = uint32(len(d.text)) //nolint:gosec // A bucket is not so large.
	d.text = append(d.text, text...)
}

func (d *draft) bucket(depth uint8) *bucket {
	b := &bucket{depth: depth, records: d.records, text: string(d.text)}
	if copy(b.tags[:], d.tags) < len(d.tags) {
		b.more = d.tags[len(b.tags):]
	}
	return b
}

// update returns the bucket with a record in the place of one of the same digest and object.
func (b *bucket) update(i int, r *record) *bucket {
	updated := *b
	updated.records = make([]record, len(b.records))
	copy(updated.records, b.records)
	r.text = b.records[i].text
	updated.records[i] = *r
	return &updated
}

// insert returns the bucket with one record more.
func (b *bucket) insert(tag uint8, r *record, id, name string) *bucket {
	d := newDraft(len(b.records)+1, len(b.text)+len(id)+len(name))
	at := b.place(tag, r, name)
	for i := 0; i <= len(b.records); i++ {
		if i == at {
			d.add(tag, r, id+name)
		}
		if i < len(b.records) {
			d.add(b.tag(i), &b.records[i], b.both(&b.records[i]))
		}
	}
	return d.bucket(b.depth)
}

// remove returns the bucket without one of its records.
func (b *bucket) remove(at int) *bucket {
	d := newDraft(len(b.records)-1, len(b.text))
	for i := range b.records {
		if i != at {
			d.add(b.tag(i), &b.records[i], b.both(&b.records[i]))
		}
	}
	return d.bucket(b.depth)
}

// split returns two buckets with the records whose next bit is 0, and 1.
func (b *bucket) split(hash func(*token.Digest) uint32) (halves [2]*bucket) {
	bit := func(i int) int { return int(hash(&b.records[i].digest) >> (31 - b.depth) & 1) }
	var count, length [2]int
	for i := range b.records {
		count[bit(i)]++
		length[bit(i)] += len(b.both(&b.records[i]))
	}
	for half := range halves {
		d := newDraft(count[half], length[half])
		for i := range b.records {
			if bit(i) == half {
				d.add(b.tag(i), &b.records[i], b.both(&b.records[i]))
			}
		}
		halves[half] = d.bucket(b.depth + 1)
	}
	return halves
}
