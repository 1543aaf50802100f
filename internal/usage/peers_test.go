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

func (r *replica) alive(names ...string) {
	probes := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{
		Namespace: canary.Namespace, Name: canary.Name, Annotations: map[string]string{"unrelated": "x"},
	}}
	for _, name := range names {
		probes.Annotations[keysv1alpha1.ProbeAnnotationPrefix+name] = fmt.Sprint(rand.Uint64())
	}
	r.Apply(probes)
}

// TestReplicasTakeTurns has three replicas see the same traffic: nothing is written twice within the resolution, even
// where nobody knows yet of what was written last.
func TestReplicasTakeTurns(t *testing.T) {
	const keys = 60
	s := newServer(t)
	replicas := []*replica{s.replica("one"), s.replica("two"), s.replica("three")}
	for n := range keys {
		s.put(key(fmt.Sprint("key-", n), "first000"))
	}
	for second := range 60 {
		for _, r := range replicas {
			r.now = noon.Add(time.Duration(second) * time.Second)
			r.alive("one", "two", "three")
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
	if s.asked != keys*6 {
		t.Errorf("%d writes for %d values: replicas did what others had done", s.asked, keys*6)
	}
	for _, r := range replicas {
		if got := r.series(t)["apikey_verifier_usage_writes_total result=written"]; got < keys || got > 4*keys {
			t.Errorf("%s made %v writes of %d", r.options.Name, got, keys*6)
		}
	}
}

// TestOthersStepIn checks that a key is written whose turn is with a replica that doesn't see its traffic, and that who
// sees it doesn't wait again the next time.
func TestOthersStepIn(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	r.alive("one", "two", "three", "four")
	waited := 0
	for n := range 40 {
		name := fmt.Sprint("key-", n)
		s.put(key(name, "first000"))
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

func TestTurnsAreEven(t *testing.T) {
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
			turn := p.turn(&object{uid: types.UID(fmt.Sprintf("3714240b-2e06-4c35-8856-%012x", n))}, noon)
			if turn == 0 {
				first[self]++
			}
			seen[turn] = true
		}
		if len(seen) != 3 {
			t.Fatalf("turns %v", seen)
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
		r.alive(c.alive...)
		if got := r.share(); got != c.share {
			t.Errorf("with %v the share is %v a second, want %v", c.alive, got, c.share)
		}
	}
	if got := r.series(t)["apikey_verifier_usage_write_budget"]; got != 20 {
		t.Errorf("the metric says %v", got)
	}

	// One that has died leaves its annotation behind, and counts no longer once it is silent.
	dead := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{
		Namespace: canary.Namespace, Name: canary.Name, Annotations: map[string]string{keysv1alpha1.ProbeAnnotationPrefix + "dead": "x"},
	}}
	r.Apply(dead)
	if got := r.share(); got != 10 {
		t.Errorf("share %v", got)
	}
	r.now = r.now.Add(silence + 1)
	r.Apply(dead)
	if got := r.share(); got != 20 {
		t.Errorf("share %v with one that is silent", got)
	}

	r.alive("one", "two")
	s.put(key("a", "first000"))
	r.use("a", "first000")
	s.put(key("b", "first000"))
	r.use("b", "first000")
	r.now = r.now.Add(lastGrace)
	if r.gap() > 0 || !r.writeOne() || r.gap() != 100*time.Millisecond {
		t.Errorf("after a write the next follows in %s", r.gap())
	}
}
