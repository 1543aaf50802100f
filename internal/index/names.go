package index

import "math/bits"

// nameShards bounds how much is moved when a table grows: one shard does at a time.
const nameShards = 256

// names finds the hashes of the digests that an object has records of, by the object's name. It is the writer's own. Names
// are not kept, only hashes of them, so some of what it finds may be another object's: look at the record.
//
// Each shard is a table with open addressing. A slot has the name's hash in its upper half, which is never 0, and the digest's
// in its lower.
type names struct {
	shards [nameShards]nameShard
}

type nameShard struct {
	slots []uint64
	used  int
}

// at returns the shard of a name's hash, and what of the hash is kept.
func (n *names) at(hash uint64) (shard *nameShard, kept uint32) {
	return &n.shards[hash>>56], uint32(hash) | 1 //nolint:gosec // The lower half is meant.
}

func (s *nameShard) home(kept uint32) int {
	high, _ := bits.Mul64(uint64(kept)<<32, uint64(len(s.slots)))
	return int(high) //nolint:gosec // Below the number of slots.
}

// each calls with every digest's hash of a name.
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

// remove removes what was added once.
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
	// What follows moves up, so that nothing is behind a gap that a search would end at.
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
