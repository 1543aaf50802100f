package usage

import (
	"hash/fnv"
	"strings"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
)

const (
	// silence is how long after its last sign of life on the canary a verifier counts as gone: verifiers leave one every 2
	// seconds. Where there are many of them they leave it less often, so it is at least silencePerVerifier for each.
	silence            = 15 * time.Second
	silencePerVerifier = time.Second
	// recent is for how long a replica that wrote a key is the first to write it again.
	recent = 3 * resolution
	// firstGrace is how long the others wait for the one whose turn it is, and lastGrace how long the last of them does.
	firstGrace, lastGrace = 2 * time.Second, 5 * time.Second
)

// peers are the verifiers that are alive, as they themselves say on the canary.
type peers struct {
	self  string
	heard map[string]sign
	// alive are the names of the others, and count how many all of them are.
	alive []string
	count int
}

// sign is a verifier's latest annotation, and when it was first seen, by our own clock.
type sign struct {
	value string
	since time.Time
}

func newPeers(self string) peers {
	return peers{self: self, heard: map[string]sign{}, count: 1}
}

// observe takes in the canary.
func (p *peers) observe(canary *keysv1alpha1.ApiKey, now time.Time) {
	for name := range p.heard {
		if _, ok := canary.Annotations[keysv1alpha1.ProbeAnnotationPrefix+name]; !ok {
			delete(p.heard, name)
		}
	}
	for annotation, value := range canary.Annotations {
		name, ok := strings.CutPrefix(annotation, keysv1alpha1.ProbeAnnotationPrefix)
		if ok && !probe.Alive(value) {
			delete(p.heard, name)
			continue
		}
		if ok && name != p.self && p.heard[name].value != value {
			p.heard[name] = sign{value: value, since: now}
		}
	}
	p.settle(now)
}

func (p *peers) settle(now time.Time) {
	p.alive = p.alive[:0]
	limit := max(silence, silencePerVerifier*time.Duration(len(p.heard)))
	for name, last := range p.heard {
		if now.Sub(last.since) <= limit {
			p.alive = append(p.alive, name)
		}
	}
	p.count = len(p.alive) + 1
}

// turn says how many replicas come before this one with an object. All of them reckon alike.
func (p *peers) turn(o *object, now time.Time) int {
	rank := p.rank(string(o.uid))
	if now.Unix()-o.lastUsed >= recent {
		return rank
	}
	if o.ours {
		return 0
	}
	return min(max(rank, 1), max(p.count-1, 0))
}

// rank is this replica's place among all of them for a key, by the hashes of their names with it.
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
	// FNV leaves its high bits, which decide, all but alike for names that are: this is murmur3's way to mix them.
	sum := h.Sum64()
	sum ^= sum >> 33
	sum *= 0xff51afd7ed558ccd
	sum ^= sum >> 33
	sum *= 0xc4ceb9fe1a85ec53
	return sum ^ sum>>33
}

// grace is how long a replica leaves an object to those whose turn comes before.
func grace(turn, count int) time.Duration {
	switch {
	case turn == 0:
		return 0
	case count <= 2:
		return firstGrace
	}
	return firstGrace + (lastGrace-firstGrace)*time.Duration(turn-1)/time.Duration(count-2)
}
