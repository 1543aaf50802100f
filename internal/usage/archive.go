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

// archive keeps the objects of which nothing is to be written, as are nearly all: each as an entry of some 100 bytes, beside
// others whose names' hashes are like its own. A page has no pointers, so the garbage collector has next to nothing to walk.
//
//	hash of the name ──▶ page ──▶ entry: its length │ name │ uid │ version │ last used, ours │ number, id │ number, id …
//
// There is a page more for every so many objects, to which half of what is in one other goes.
type archive struct {
	seed  maphash.Seed
	pages [][]byte
	size  int
}

// perPage is how many entries a page has on average. A change moves what is behind it in its page, so fewer make changes
// cheaper and more take less memory besides the entries.
const perPage = 16

func newArchive() archive { return archive{seed: maphash.MakeSeed(), pages: make([][]byte, 1)} }

// hash is that of an object's name: where it is, or would be.
func (a *archive) hash(name string) uint64 { return maphash.String(a.seed, name) }

// page returns the number of the page of a hash: by as many of its last bits as there are pages, or by one less.
func (a *archive) page(hash uint64) int {
	half := a.half()
	if i := int(hash & uint64(2*half-1)); i < len(a.pages) { //nolint:gosec // It is below the number of pages, about.
		return i
	}
	return int(hash & uint64(half-1)) //nolint:gosec // As above.
}

// half is the largest power of two that is no more than the number of pages.
func (a *archive) half() int { return 1 << (bits.Len(uint(len(a.pages))) - 1) }

// put adds an object that isn't there.
func (a *archive) put(o *object) {
	a.size++
	if a.size > perPage*len(a.pages) {
		a.extend()
	}
	page := &a.pages[a.page(a.hash(o.name))]
	*page = appendEntry(*page, o)
}

// extend adds a page, and moves there what belongs there.
func (a *archive) extend() {
	from := len(a.pages) - a.half()
	a.pages = append(a.pages, nil)
	var stays, goes []byte
	for whole := a.pages[from]; len(whole) > 0; {
		var e entry
		e, whole = readEntry(whole)
		if a.page(maphash.Bytes(a.seed, e.name)) == from {
			stays = append(stays, e.whole...)
		} else {
			goes = append(goes, e.whole...)
		}
	}
	// Without the room that is left.
	a.pages[from], a.pages[len(a.pages)-1] = bytes.Clone(stays), bytes.Clone(goes)
}

// takeNamed takes the object of a name out, if it is there.
func (a *archive) takeNamed(name string) *object {
	return a.take(a.hash(name), func(e *entry) bool { return string(e.name) == name })
}

// takeNumbered takes out the object of which a credential's meter has the number, if it is there, by the hash of its name.
func (a *archive) takeNumbered(hash uint64, number index.Meter) *object {
	return a.take(hash, func(e *entry) bool { return e.has(number) })
}

func (a *archive) take(hash uint64, wanted func(*entry) bool) *object {
	page := &a.pages[a.page(hash)]
	for rest := *page; len(rest) > 0; {
		var e entry
		if e, rest = readEntry(rest); wanted(&e) {
			o, end := e.object(), len(*page)-len(rest)
			*page = slices.Delete(*page, end-len(e.whole), end)
			a.size--
			return o
		}
	}
	return nil
}

// names calls with the name of each object, which is valid until the next call.
func (a *archive) names(each func(name []byte)) {
	for _, page := range a.pages {
		for len(page) > 0 {
			var e entry
			e, page = readEntry(page)
			each(e.name)
		}
	}
}

// entry is an object as it is kept. All of it is part of a page.
type entry struct {
	whole              []byte
	name, uid, version []byte
	// rest is when it was used last, and its credentials.
	rest []byte
}

func appendEntry(to []byte, o *object) []byte {
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
		to = binary.AppendUvarint(to, uint64(o.credentials[i].number))
		to = appendText(to, o.credentials[i].id)
	}
	binary.LittleEndian.PutUint16(to[begin:], uint16(len(to)-begin)) //nolint:gosec // As above.
	return to
}

func readEntry(page []byte) (e entry, rest []byte) {
	length := binary.LittleEndian.Uint16(page)
	e.whole, rest = page[:length], page[length:]
	e.name, e.rest = readText(e.whole[2:])
	e.uid, e.rest = readText(e.rest)
	e.version, e.rest = readText(e.rest)
	return e, rest
}

// object returns what the entry says, but for the credentials' meters.
func (e *entry) object() *object {
	lastUsed, n := binary.Uvarint(e.rest)
	o := &object{
		name: string(e.name), uid: types.UID(e.uid), version: string(e.version),
		lastUsed: int64(lastUsed >> 1), ours: lastUsed&1 == 1,
	}
	for rest := e.rest[n:]; len(rest) > 0; {
		number, n := binary.Uvarint(rest)
		var id []byte
		id, rest = readText(rest[n:])
		o.credentials = append(o.credentials, credential{number: index.Meter(number), id: string(id)}) //nolint:gosec // It was one.
	}
	return o
}

// has says whether a credential's meter has the number.
func (e *entry) has(wanted index.Meter) bool {
	_, n := binary.Uvarint(e.rest)
	for rest := e.rest[n:]; len(rest) > 0; {
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

// compactTogether is how many pages compact lays side by side: so many that they fill whole pages of memory, and so few that
// these come free once each of them has outgrown its place.
const compactTogether = 64

// compact moves all pages together. As they grow, each leaves smaller ones behind, between others' that stay.
func (a *archive) compact() {
	for pages := range slices.Chunk(a.pages, compactTogether) {
		together := slices.Concat(pages...)
		for i, page := range pages {
			n := len(page)
			pages[i], together = together[:n:n], together[n:]
		}
	}
}
