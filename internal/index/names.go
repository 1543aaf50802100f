package index

import "math/bits"

// nameShards is the number of shards. A table grows by one shard at a time, which bounds how much is moved.
const nameShards = 256

// names finds the hashes of the digests that an object claims, by the object's name. Only the writer uses it.
// It stores hashes of names and not the names, so some results may belong to another object; the caller checks the
// claim.
//
// Each shard is a table with open addressing. A slot has the hash of the name in its upper half, which is never 0, and
// that of the digest in its lower half.
type names struct {
	shards [nameShards]nameShard
}

type nameShard struct {
	slots []uint64
	used  int
}

// at returns the shard of a name's hash, and the part of the hash that is stored.
func (n *names) at(hash uint64) (shard *nameShard, kept uint32) {
	return &n.shards[hash>>56], uint32(hash) | 1 //nolint:gosec // The lower half is meant.
}

// home returns the slot in which the search for a name begins.
func (s *nameShard) home(kept uint32) int {
	high, _ := bits.Mul64(uint64(kept)<<32, uint64(len(s.slots)))
	return int(high) //nolint:gosec // Below the number of slots.
}

// each calls found with the hash of each digest of a name.
func (n *names) each(hash uint64, found func(digest uint32)) {
	s, kept := n.at(hash)
	if s.used == 0 {
		return
	}
	for i := s.home(kept); s.slots[i] != 0; i = s.after(i) {
		if s.slots[i]>>32 == uint64(kept) {
			found(uint32(s.slots[i])) //nolint:gosec // The lower half is meant.
		}
	}
}

// after returns the slot that follows.
func (s *nameShard) after(i int) int {
	i++
	if i == len(s.slots) {
		return 0
	}
	return i
}

func (n *names) add(hash uint64, digest uint32) {
	s, kept := n.at(hash)
	if 8*(s.used+1) > 7*len(s.slots) {
		s.resize(len(s.slots)*5/4 + 8)
	}
	s.put(uint64(kept)<<32 | uint64(digest))
}

func (s *nameShard) put(slot uint64) {
	i := s.home(uint32(slot >> 32))
	for s.slots[i] != 0 {
		i = s.after(i)
	}
	s.slots[i] = slot
	s.used++
}

func (s *nameShard) resize(length int) {
	old := s.slots
	s.slots, s.used = make([]uint64, length), 0
	for _, slot := range old {
		if slot != 0 {
			s.put(slot)
		}
	}
}

// remove removes one pair that was added.
func (n *names) remove(hash uint64, digest uint32) {
	s, kept := n.at(hash)
	if s.used == 0 {
		return
	}
	i := s.home(kept)
	for s.slots[i] != uint64(kept)<<32|uint64(digest) {
		if s.slots[i] == 0 {
			return
		}
		i = s.after(i)
	}
	// Move up what follows, so that no gap ends the search for it.
	for j := s.after(i); s.slots[j] != 0; j = s.after(j) {
		home := s.home(uint32(s.slots[j] >> 32))
		if behind := i < j && (home <= i || home > j) || i > j && home <= i && home > j; behind {
			s.slots[i] = s.slots[j]
			i = j
		}
	}
	s.slots[i] = 0
	s.used--
	if len(s.slots) > 64 && 4*s.used < len(s.slots) {
		s.resize(len(s.slots) / 2)
	}
}
