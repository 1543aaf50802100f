package usage

import (
	"hash/fnv"
	"strings"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
)

const (
	// peerTimeout is how long a verifier counts as alive after its last probe on the canary. Verifiers probe every 2
	// seconds, but less often if there are many, so the timeout is at least peerTimeoutEach for each of them.
	peerTimeout     = 15 * time.Second
	peerTimeoutEach = time.Second
	// recent is how long the replica that last wrote a key stays first in line to write it.
	recent = 3 * resolution
	// firstGrace is how long the second replica waits for the first to write a key; lastGrace is how long the last waits.
	firstGrace, lastGrace = 2 * time.Second, 5 * time.Second
)

// peers are the verifiers that are alive, according to their probes on the canary.
type peers struct {
	self     string
	lastSeen map[string]probeSeen
	// alive are the names of the others. count includes this one.
	alive []string
	count int
}

// probeSeen is the latest annotation of a verifier, and when it was first seen, by this replica's clock.
type probeSeen struct {
	value string
	since time.Time
}

func newPeers(self string) peers {
	return peers{self: self, lastSeen: map[string]probeSeen{}, count: 1}
}

// observe updates the peers from the canary.
func (p *peers) observe(canary *keysv1alpha1.ApiKey, now time.Time) {
	for name := range p.lastSeen {
		if _, ok := canary.Annotations[keysv1alpha1.ProbeAnnotationPrefix+name]; !ok {
			delete(p.lastSeen, name)
		}
	}
	for annotation, value := range canary.Annotations {
		name, ok := strings.CutPrefix(annotation, keysv1alpha1.ProbeAnnotationPrefix)
		if ok && !probe.Alive(value) {
			delete(p.lastSeen, name)
			continue
		}
		if ok && name != p.self && p.lastSeen[name].value != value {
			p.lastSeen[name] = probeSeen{value: value, since: now}
		}
	}
	p.countAlive(now)
}

// countAlive updates alive and count.
func (p *peers) countAlive(now time.Time) {
	p.alive = p.alive[:0]
	limit := max(peerTimeout, peerTimeoutEach*time.Duration(len(p.lastSeen)))
	for name, last := range p.lastSeen {
		if now.Sub(last.since) <= limit {
			p.alive = append(p.alive, name)
		}
	}
	p.count = len(p.alive) + 1
}

// replicasAhead returns how many replicas should write the object before this one. All replicas come to the same order.
func (p *peers) replicasAhead(o *object, now time.Time) int {
	rank := p.rank(string(o.uid))
	if now.Unix()-o.lastUsed >= recent {
		return rank
	}
	if o.ours {
		return 0
	}
	return min(max(rank, 1), max(p.count-1, 0))
}

// rank returns the position of this replica among all of them for a key, by hashes of their names and the key's UID
// (rendezvous hashing).
func (p *peers) rank(uid string) int {
	own, rank := weight(uid, p.self), 0
	for _, name := range p.alive {
		if weight(uid, name) > own {
			rank++
		}
	}
	return rank
}

func weight(uid, name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // It never fails.
	_, _ = h.Write([]byte(uid))
	// For similar names, FNV's high bits, which decide, are nearly the same. This is how murmur3 mixes them.
	sum := h.Sum64()
	sum ^= sum >> 33
	sum *= 0xff51afd7ed558ccd
	sum ^= sum >> 33
	sum *= 0xc4ceb9fe1a85ec53
	return sum ^ sum>>33
}

// grace returns how long a replica waits for those ahead of it to write an object.
func grace(ahead, count int) time.Duration {
	switch {
	case ahead == 0:
		return 0
	case count <= 2:
		return firstGrace
	}
	return firstGrace + (lastGrace-firstGrace)*time.Duration(ahead-1)/time.Duration(count-2)
}
