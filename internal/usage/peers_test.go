package usage

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// observeAlive passes a canary with new probes of the named replicas to the recorder.
func (r *replica) observeAlive(names ...string) {
	probes := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{
		Namespace: canary.Namespace, Name: canary.Name, Annotations: map[string]string{"unrelated": "x"},
	}}
	for _, name := range names {
		probes.Annotations[keysv1alpha1.ProbeAnnotationPrefix+name] = fmt.Sprint(rand.Uint64())
	}
	r.Apply(probes)
}

// TestReplicasTakeTurns sends the same traffic to three replicas. Nothing is written twice within the resolution, even
// if no replica has seen the others' last writes yet.
func TestReplicasTakeTurns(t *testing.T) {
	const keys = 60
	s := newServer(t)
	replicas := []*replica{s.replica("one"), s.replica("two"), s.replica("three")}
	for n := range keys {
		s.put(newKey(fmt.Sprint("key-", n), "first000"))
	}
	for second := range 60 {
		for _, r := range replicas {
			r.now = noon.Add(time.Duration(second) * time.Second)
			r.observeAlive("one", "two", "three")
			for n := range keys {
				r.use(fmt.Sprint("key-", n), "first000")
			}
		}
		s.hold = true
		for _, r := range replicas {
			r.writeAll()
		}
		s.hold = false
		s.deliver()
	}
	for name, writes := range s.writes {
		if !slices.Equal(writes, []int64{0, 10, 20, 30, 40, 50}) {
			t.Errorf("%s was written at %v", name, writes)
		}
	}
	if s.attempts != keys*6 {
		t.Errorf("%d writes for %d values: replicas repeated each other's writes", s.attempts, keys*6)
	}
	for _, r := range replicas {
		if got := r.series(t)["apikey_verifier_usage_writes_total result=written"]; got < keys || got > 4*keys {
			t.Errorf("%s made %v writes of %d", r.options.Name, got, keys*6)
		}
	}
}

// TestOtherReplicasStepIn checks that a key is written even if the first replica in line does not see its traffic, and
// that the replica which wrote it does not wait the next time.
func TestOtherReplicasStepIn(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	r.observeAlive("one", "two", "three", "four")
	waited := 0
	for n := range 40 {
		name := fmt.Sprint("key-", n)
		s.put(newKey(name, "first000"))
		r.now = noon
		r.use(name, "first000")
		r.writeAll()
		if len(s.writes["warehouse/"+name]) == 0 {
			waited++
		}
		r.now = noon.Add(lastGrace)
		r.writeAll()
		s.wantWrites(name, 0)
		r.now = noon.Add(10 * time.Second)
		r.use(name, "first000")
		r.writeAll()
		s.wantWrites(name, 0, 10)
	}
	if waited == 0 || waited == 40 {
		t.Errorf("waited for others with %d keys of 40", waited)
	}
}

func TestKeysAreSpreadEvenly(t *testing.T) {
	names := []string{"verifier-6d5f7c9b8-x2x4k", "verifier-6d5f7c9b8-p9q7z", "verifier-6d5f7c9b8-m3n5b"}
	first := map[string]int{}
	for n := range 3000 {
		seen := map[int]bool{}
		for _, self := range names {
			p := newPeers(self)
			for _, name := range names {
				if name != self {
					p.alive = append(p.alive, name)
				}
			}
			p.count = 3
			ahead := p.replicasAhead(&object{uid: types.UID(fmt.Sprintf("3714240b-2e06-4c35-8856-%012x", n))}, noon)
			if ahead == 0 {
				first[self]++
			}
			seen[ahead] = true
		}
		if len(seen) != 3 {
			t.Fatalf("positions %v, want three different ones", seen)
		}
	}
	for _, name := range names {
		if first[name] < 800 || first[name] > 1200 {
			t.Errorf("%s is first with %d keys of 3000", name, first[name])
		}
	}
}

func TestTheBudgetIsForAllReplicas(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	for _, c := range []struct {
		alive []string
		after time.Duration
		share float64
	}{
		{nil, 0, 20},
		{[]string{"one", "two"}, 0, 10},
		{[]string{"one", "two", "three", "four"}, 0, 5},
		{[]string{"one", "two"}, 0, 10},
		{[]string{"one"}, time.Second, 20},
	} {
		r.now = r.now.Add(c.after)
		r.observeAlive(c.alive...)
		if got := r.share(); got != c.share {
			t.Errorf("with %v the share is %v a second, want %v", c.alive, got, c.share)
		}
	}
	if got := r.series(t)["apikey_verifier_usage_write_budget"]; got != 20 {
		t.Errorf("the metric says %v", got)
	}

	// A replica that has died leaves its annotation behind. It no longer counts after the timeout.
	dead := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{
		Namespace: canary.Namespace, Name: canary.Name,
		Annotations: map[string]string{keysv1alpha1.ProbeAnnotationPrefix + "dead": "x"},
	}}
	r.Apply(dead)
	if got := r.share(); got != 10 {
		t.Errorf("share %v", got)
	}
	r.now = r.now.Add(peerTimeout + 1)
	r.Apply(dead)
	if got := r.share(); got != 20 {
		t.Errorf("share %v with one that is silent", got)
	}

	r.observeAlive("one", "two")
	s.put(newKey("a", "first000"))
	r.use("a", "first000")
	s.put(newKey("b", "first000"))
	r.use("b", "first000")
	r.now = r.now.Add(lastGrace)
	if r.gap() > 0 || !r.writeOne() || r.gap() != 100*time.Millisecond {
		t.Errorf("after a write the next follows in %s", r.gap())
	}
}
