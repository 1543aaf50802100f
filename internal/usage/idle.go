package usage

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// idleStore keeps the objects that have nothing to be written, which are nearly all. Each is serialized to about 100
// bytes, in a page with other objects. Pages have no pointers, so the garbage collector has next to nothing to scan.
//
//	hash of the name ──▶ page ──▶ object: its length │ name │ uid │ version │ last used, ours │ slot, id │ slot, id …
//
// It is a linear hash table: when it gets too full it adds one page, which takes about half of what one other page has.
type idleStore struct {
	seed  maphash.Seed
	pages [][]byte
	size  int
}

// perPage is how many objects a page has on average. A change moves everything behind it in its page, so smaller pages
// make changes cheaper, and larger ones take less memory besides the objects.
const perPage = 16

func newIdleStore() idleStore { return idleStore{seed: maphash.MakeSeed(), pages: make([][]byte, 1)} }

// hash returns the hash of an object's name, which determines its page.
func (s *idleStore) hash(name string) uint64 { return maphash.String(s.seed, name) }

// page returns the number of the page of a hash: its last bits, as many as the number of pages needs, or one bit fewer
// if there is no such page yet.
func (s *idleStore) page(hash uint64) int {
	half := s.half()
	if i := int(hash & uint64(2*half-1)); i < len(s.pages) { //nolint:gosec // It is below the number of pages, about.
		return i
	}
	return int(hash & uint64(half-1)) //nolint:gosec // As above.
}

// half returns the largest power of two that is not greater than the number of pages.
func (s *idleStore) half() int { return 1 << (bits.Len(uint(len(s.pages))) - 1) }

// put adds an object. There must be none of that name.
func (s *idleStore) put(o *object) {
	s.size++
	if s.size > perPage*len(s.pages) {
		s.extend()
	}
	page := &s.pages[s.page(s.hash(o.name))]
	*page = appendObject(*page, o)
}

// extend adds a page, and moves the objects that belong on it.
func (s *idleStore) extend() {
	from := len(s.pages) - s.half()
	s.pages = append(s.pages, nil)
	var stays, goes []byte
	for whole := s.pages[from]; len(whole) > 0; {
		var p packedObject
		p, whole = readObject(whole)
		if s.page(maphash.Bytes(s.seed, p.name)) == from {
			stays = append(stays, p.whole...)
		} else {
			goes = append(goes, p.whole...)
		}
	}
	// Clones have no spare capacity.
	s.pages[from], s.pages[len(s.pages)-1] = bytes.Clone(stays), bytes.Clone(goes)
}

// takeNamed removes and returns the object of a name, or returns nil.
func (s *idleStore) takeNamed(name string) *object {
	return s.take(s.hash(name), func(p *packedObject) bool { return string(p.name) == name })
}

// takeWithSlot removes and returns the object that has the slot, or returns nil. The hash is that of its name.
func (s *idleStore) takeWithSlot(hash uint64, number index.UsageSlot) *object {
	return s.take(hash, func(p *packedObject) bool { return p.hasSlot(number) })
}

func (s *idleStore) take(hash uint64, wanted func(*packedObject) bool) *object {
	page := &s.pages[s.page(hash)]
	for rest := *page; len(rest) > 0; {
		var p packedObject
		if p, rest = readObject(rest); wanted(&p) {
			o, end := p.unpack(), len(*page)-len(rest)
			*page = slices.Delete(*page, end-len(p.whole), end)
			s.size--
			return o
		}
	}
	return nil
}

// eachName calls each with the name of every object. A name is valid only during the call.
func (s *idleStore) eachName(each func(name []byte)) {
	for _, page := range s.pages {
		for len(page) > 0 {
			var p packedObject
			p, page = readObject(page)
			each(p.name)
		}
	}
}

// packedObject is an object in its serialized form. Its slices are parts of a page.
type packedObject struct {
	whole              []byte
	name, uid, version []byte
	// rest is the time of the last use, and the credentials.
	rest []byte
}

func appendObject(to []byte, o *object) []byte {
	begin := len(to)
	to = append(to, 0, 0) // The length, of which 2 bytes are enough: see the schema.
	to = appendText(to, o.name)
	to = appendText(to, string(o.uid))
	to = appendText(to, o.version)
	lastUsed := uint64(o.lastUsed) << 1 //nolint:gosec // It is not before 1970.
	if o.ours {
		lastUsed |= 1
	}
	to = binary.AppendUvarint(to, lastUsed)
	for i := range o.credentials {
		to = binary.AppendUvarint(to, uint64(o.credentials[i].slotNumber))
		to = appendText(to, o.credentials[i].id)
	}
	binary.LittleEndian.PutUint16(to[begin:], uint16(len(to)-begin)) //nolint:gosec // As above.
	return to
}

func readObject(page []byte) (p packedObject, rest []byte) {
	length := binary.LittleEndian.Uint16(page)
	p.whole, rest = page[:length], page[length:]
	p.name, p.rest = readText(p.whole[2:])
	p.uid, p.rest = readText(p.rest)
	p.version, p.rest = readText(p.rest)
	return p, rest
}

// unpack returns the object, without the memory of its slots.
func (p *packedObject) unpack() *object {
	lastUsed, n := binary.Uvarint(p.rest)
	o := &object{
		name: string(p.name), uid: types.UID(p.uid), version: string(p.version),
		lastUsed: int64(lastUsed >> 1), ours: lastUsed&1 == 1,
	}
	for rest := p.rest[n:]; len(rest) > 0; {
		number, n := binary.Uvarint(rest)
		var id []byte
		id, rest = readText(rest[n:])
		o.credentials = append(o.credentials, credential{
			slotNumber: index.UsageSlot(number), //nolint:gosec // It was one.
			id:         string(id),
		})
	}
	return o
}

// hasSlot reports whether a credential of the object has the slot.
func (p *packedObject) hasSlot(wanted index.UsageSlot) bool {
	_, n := binary.Uvarint(p.rest)
	for rest := p.rest[n:]; len(rest) > 0; {
		number, n := binary.Uvarint(rest)
		if number == uint64(wanted) {
			return true
		}
		_, rest = readText(rest[n:])
	}
	return false
}

func appendText(to []byte, text string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(text))), text...)
}

func readText(from []byte) (text, rest []byte) {
	length, n := binary.Uvarint(from)
	end := n + int(length) //nolint:gosec // It was a length.
	return from[n:end], from[end:]
}

// compactTogether is how many pages compact puts into one block: enough to fill whole pages of memory, and few enough
// that a block is soon free again, once each of its pages has outgrown its place.
const compactTogether = 64

// compact copies all pages into contiguous blocks. While pages grow they are allocated again and again, and what they
// leave behind are gaps too small to be given back.
func (s *idleStore) compact() {
	for pages := range slices.Chunk(s.pages, compactTogether) {
		together := slices.Concat(pages...)
		for i, page := range pages {
			n := len(page)
			pages[i], together = together[:n:n], together[n:]
		}
	}
}
