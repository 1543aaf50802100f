package index

import (
	"encoding/binary"
	"slices"
	"sync/atomic"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// Terms are what a credential may do, and from where. Many credentials have equal terms, which are stored once. Terms
// are immutable.
type Terms struct {
	// Granted and Asked are the scopes of status and of spec. A request must be within both.
	Granted, Asked []keysv1alpha1.Scope
	// Allowlists are those of status and of spec. A client must be on both.
	Allowlists [2]Allowlist

	scopesHeader string
}

// appendKey appends a representation that is the same for equal terms, and only for those.
func (t *Terms) appendKey(to []byte) []byte {
	for _, scopes := range [...][]keysv1alpha1.Scope{t.Granted, t.Asked} {
		to = binary.AppendUvarint(to, uint64(len(scopes)))
		for _, scope := range scopes {
			to = append(binary.AppendUvarint(to, uint64(len(scope))), scope...)
		}
	}
	to = append(binary.AppendUvarint(to, uint64(len(t.scopesHeader))), t.scopesHeader...)
	return t.Allowlists[1].append(t.Allowlists[0].append(to))
}

// termsTable numbers the terms that are in use. When terms are no longer used, their number is reused.
// Credentials.Lookup detects if that happens during a read.
type termsTable struct {
	byNumber atomic.Pointer[[]atomic.Pointer[Terms]]

	// Only the writer uses the following.
	numbers map[string]uint32
	used    []uint32
	free    []uint32
	key     []byte
}

func newTermsTable() *termsTable {
	t := &termsTable{numbers: map[string]uint32{}}
	t.byNumber.Store(&[]atomic.Pointer[Terms]{})
	return t
}

// at returns the terms of a number. Readers may call it.
func (t *termsTable) at(number uint32) *Terms { return (*t.byNumber.Load())[number].Load() }

// find returns the number of terms, and whether they are in use.
func (t *termsTable) find(terms *Terms) (number uint32, ok bool) {
	t.key = terms.appendKey(t.key[:0])
	number, ok = t.numbers[string(t.key)]
	return number, ok
}

// hold returns the number of terms and counts one more claim that uses them.
func (t *termsTable) hold(terms *Terms) uint32 {
	number, ok := t.find(terms)
	if !ok {
		number = t.unused()
		// The caller's slices may be parts of something much larger.
		kept := *terms
		kept.Granted, kept.Asked = slices.Clone(terms.Granted), slices.Clone(terms.Asked)
		(*t.byNumber.Load())[number].Store(&kept)
		t.numbers[string(t.key)] = number
	}
	t.used[number]++
	return number
}

// release counts one claim less. Readers can't find that claim any more.
func (t *termsTable) release(number uint32) {
	t.used[number]--
	if t.used[number] > 0 {
		return
	}
	table := *t.byNumber.Load()
	t.key = table[number].Load().appendKey(t.key[:0])
	delete(t.numbers, string(t.key))
	table[number].Store(nil)
	t.free = append(t.free, number)
}

// unused returns a number that is not in use.
func (t *termsTable) unused() uint32 {
	if len(t.free) == 0 {
		old := *t.byNumber.Load()
		grown := make([]atomic.Pointer[Terms], max(2*len(old), 16))
		for i := range old {
			grown[i].Store(old[i].Load())
		}
		for i := len(grown) - 1; i >= len(old); i-- {
			t.free = append(t.free, uint32(i)) //nolint:gosec // There are not so many terms.
		}
		t.used = slices.Grow(t.used, len(grown)-len(old))[:len(grown)]
		t.byNumber.Store(&grown)
	}
	number := t.free[len(t.free)-1]
	t.free = t.free[:len(t.free)-1]
	return number
}
