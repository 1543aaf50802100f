package usage

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

var (
	noon     = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	resource = schema.GroupResource{Group: keysv1alpha1.GroupName, Resource: "apikeys"}
	canary   = types.NamespacedName{Namespace: "apikey-system", Name: keysv1alpha1.CanaryName}
)

// server is an API server as far as writes of usage go: it checks uid and resourceVersion, and tells every replica of
// each change, at once or when told to.
type server struct {
	t        *testing.T
	mu       sync.Mutex
	version  int
	keys     map[string]*keysv1alpha1.ApiKey
	replicas []*replica
	// held are the changes that no replica has been told of, while hold is set.
	hold bool
	held []*keysv1alpha1.ApiKey
	// fail, if not nil, is what writes get.
	fail func(name string) error
	// writes are the values of lastUsedTime in the order they were written, by key.
	writes map[string][]int64
	asked  int
}

// replica is a recorder with a clock of its own.
type replica struct {
	*Recorder
	server   *server
	registry *prometheus.Registry
	now      time.Time
}

func newServer(t *testing.T) *server {
	return &server{t: t, keys: map[string]*keysv1alpha1.ApiKey{}, writes: map[string][]int64{}}
}

func (s *server) replica(name string) *replica {
	r := &replica{server: s, now: noon, registry: prometheus.NewRegistry()}
	r.Recorder = newRecorder(Options{
		Canary: canary, Name: name, Budget: 20, Log: logr.Discard(), Clock: func() time.Time { return r.now }, Registry: r.registry,
	}, s.patch)
	s.replicas = append(s.replicas, r)
	for _, key := range s.keys {
		r.Apply(key)
	}
	return r
}

// put creates or changes a key, as somebody else than a verifier does.
func (s *server) put(key *keysv1alpha1.ApiKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commit(key)
}

func (s *server) commit(key *keysv1alpha1.ApiKey) {
	s.version++
	key.ResourceVersion = fmt.Sprint(s.version)
	s.keys[key.Namespace+"/"+key.Name] = key
	s.held = append(s.held, key)
	if !s.hold {
		s.deliver()
	}
}

// deliver tells the replicas of what they have not been told of.
func (s *server) deliver() {
	for _, key := range s.held {
		for _, r := range s.replicas {
			r.Apply(key)
		}
	}
	s.held = nil
}

// patch is a patcher.
func (s *server) patch(_ context.Context, name string, patch []byte) (*keysv1alpha1.ApiKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.fail != nil {
		if err := s.fail(name); err != nil {
			return nil, err
		}
	}
	var p struct {
		Metadata struct {
			UID             types.UID
			ResourceVersion string
		}
		Status map[string]json.RawMessage
	}
	if err := json.Unmarshal(patch, &p); err != nil {
		s.t.Fatal(err)
	}
	key, ok := s.keys[name]
	if !ok {
		return nil, apierrors.NewNotFound(resource, name)
	}
	if p.Metadata.UID != key.UID || p.Metadata.ResourceVersion != key.ResourceVersion {
		return nil, apierrors.NewConflict(resource, name, fmt.Errorf("it has changed"))
	}
	for field := range p.Status {
		if field != "usage" && field != "lastUsedTime" {
			s.t.Errorf("a write of status.%s", field)
		}
	}
	key = key.DeepCopy()
	key.Status.Usage = nil
	if err := json.Unmarshal(slices.Concat([]byte(`{"status":`), must(json.Marshal(p.Status)), []byte("}")), key); err != nil {
		s.t.Fatal(err)
	}
	s.writes[name] = append(s.writes[name], key.Status.LastUsedTime.Unix()-noon.Unix())
	s.commit(key)
	return key, nil
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// key is a key with credentials of the given ids.
func key(name string, ids ...string) *keysv1alpha1.ApiKey {
	k := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{Namespace: "warehouse", Name: name, UID: types.UID("uid of " + name)}}
	for _, id := range ids {
		k.Status.Credentials = append(k.Status.Credentials, keysv1alpha1.Credential{ID: id})
	}
	return k
}

// use uses a credential at the replica's time.
func (r *replica) use(name, id string) {
	r.mu.Lock()
	m := r.objects["warehouse/"+name].meter(id)
	r.mu.Unlock()
	m.Used(r.now)
}

// writeOne makes the write that is next, and says whether there was one.
func (r *replica) writeOne() bool {
	c := r.begin()
	if c == nil {
		return false
	}
	written, err := r.patch(context.Background(), c.object.name, c.patch)
	r.settle(c, written, err)
	return true
}

func (r *replica) writeAll() {
	for r.writeOne() {
	}
}

func (s *server) wantWrites(name string, want ...int64) {
	s.t.Helper()
	if got := s.writes["warehouse/"+name]; !slices.Equal(got, want) {
		s.t.Errorf("%s was written at %v, want %v (seconds)", name, got, want)
	}
}

func (r *replica) alive(names ...string) {
	probes := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{
		Namespace: canary.Namespace, Name: canary.Name, Annotations: map[string]string{"unrelated": "x"},
	}}
	for _, name := range names {
		probes.Annotations[keysv1alpha1.ProbeAnnotationPrefix+name] = fmt.Sprint(rand.Uint64())
	}
	r.Apply(probes)
}

func TestUsesAreWrittenOnceInTheResolution(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	s.put(key("a", "first000"))
	for second := range 35 {
		r.now = noon.Add(time.Duration(second) * time.Second)
		r.use("a", "first000")
		r.writeAll()
	}
	s.wantWrites("a", 0, 10, 20, 30)
}

func TestWhatAnotherHasWrittenIsNotWrittenAgain(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	s.put(key("a", "first000"))
	r.use("a", "first000")
	other := s.keys["warehouse/a"].DeepCopy()
	other.Status.Usage = []keysv1alpha1.CredentialUsage{{ID: "first000", LastUsedTime: metav1.Time{Time: noon.Add(-9 * time.Second)}}}
	s.put(other)
	r.writeAll()
	s.wantWrites("a")
	r.now = noon.Add(time.Second)
	r.use("a", "first000")
	r.writeAll()
	s.wantWrites("a", 1)
}

func TestEachCredentialHasItsTimeAndTheKeyTheNewest(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	s.put(key("a", "first000", "second00"))
	r.use("a", "second00")
	r.writeAll()
	r.now = noon.Add(time.Minute)
	r.use("a", "first000")
	r.writeAll()
	status := s.keys["warehouse/a"].Status
	if len(status.Usage) != 2 || status.Usage[0].ID != "first000" || !status.Usage[0].LastUsedTime.Time.Equal(noon.Add(time.Minute)) ||
		!status.Usage[1].LastUsedTime.Time.Equal(noon) {
		t.Errorf("usage is %v", status.Usage)
	}
	if !status.LastUsedTime.Time.Equal(noon.Add(time.Minute)) {
		t.Errorf("last used at %s", status.LastUsedTime)
	}

	// Rotated: the first credential is gone, and its entry goes with the next write. The key's own time goes nowhere.
	rotated := s.keys["warehouse/a"].DeepCopy()
	rotated.Status.Credentials = []keysv1alpha1.Credential{{ID: "second00"}, {ID: "third000"}}
	s.put(rotated)
	r.now = noon.Add(30 * time.Second) // Set back: the key was used at a later time than this.
	r.use("a", "third000")
	r.writeAll()
	status = s.keys["warehouse/a"].Status
	if len(status.Usage) != 2 || status.Usage[0].ID != "second00" || status.Usage[1].ID != "third000" {
		t.Errorf("usage is %v", status.Usage)
	}
	if !status.LastUsedTime.Time.Equal(noon.Add(time.Minute)) {
		t.Errorf("last used at %s", status.LastUsedTime)
	}
}

// TestTimesNeverGoBack has replicas with clocks that differ by hours and that are set back, and whose knowledge is old.
func TestTimesNeverGoBack(t *testing.T) {
	s := newServer(t)
	replicas := []*replica{s.replica("one"), s.replica("two"), s.replica("three")}
	for n := range 5 {
		s.put(key(fmt.Sprint("key-", n), "first000"))
	}
	random := rand.New(rand.NewPCG(1, 2))
	latest := map[string]int64{}
	for range 5000 {
		r := replicas[random.IntN(len(replicas))]
		r.now = noon.Add(time.Duration(random.IntN(7200)) * time.Second)
		s.hold = random.IntN(3) > 0
		name := fmt.Sprint("key-", random.IntN(5))
		r.use(name, "first000")
		latest["warehouse/"+name] = max(latest["warehouse/"+name], r.now.Unix()-noon.Unix())
		r.now = r.now.Add(time.Minute)
		r.writeOne()
		if !s.hold {
			s.deliver()
		}
	}
	s.hold = false
	s.deliver()
	for range 20 { // More than the keys, because some writes are overtaken.
		for _, r := range replicas {
			r.now = noon.Add(4 * time.Hour)
			r.writeAll()
		}
	}
	for name, writes := range s.writes {
		if len(writes) < 2 || !slices.IsSorted(writes) {
			t.Errorf("%s was written at %v", name, writes)
		}
		if last := writes[len(writes)-1]; last > latest[name] || last <= latest[name]-resolution {
			t.Errorf("%s was last written at %d, and last used at %d", name, last, latest[name])
		}
	}
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

// TestBeyondTheBudgetAllKeysGrowOldAlike has more keys in use than can be written within the resolution.
func TestBeyondTheBudgetAllKeysGrowOldAlike(t *testing.T) {
	const keys, perSecond, seconds = 400, 10, 160
	s := newServer(t)
	replicas := []*replica{s.replica("one"), s.replica("two")}
	for n := range keys {
		s.put(key(fmt.Sprint("key-", n), "first000"))
	}
	for second := range seconds {
		for _, r := range replicas {
			r.now = noon.Add(time.Duration(second) * time.Second)
			r.alive("one", "two")
			for n := range keys {
				r.use(fmt.Sprint("key-", n), "first000")
			}
		}
		s.hold = true // Each learns a second late what the other did.
		for range perSecond / 2 {
			for _, r := range replicas {
				r.writeOne()
			}
		}
		s.hold = false
		s.deliver()
	}
	if s.asked > seconds*perSecond {
		t.Errorf("%d writes in %d seconds", s.asked, seconds)
	}
	for name, writes := range s.writes {
		if len(writes) < 3 || len(writes) > 5 {
			t.Errorf("%s was written at %v, want once in %d seconds", name, writes, keys/perSecond)
		}
	}
	if len(s.writes) != keys {
		t.Errorf("%d of %d keys were written", len(s.writes), keys)
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

func TestWhatIsGoneIsNotWritten(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	for _, name := range []string{"deleting", "deleted", "missing", "replaced", "stripped"} {
		s.put(key(name, "first000"))
		r.use(name, "first000")
	}
	deleting := s.keys["warehouse/deleting"].DeepCopy()
	deleting.DeletionTimestamp = &metav1.Time{Time: noon}
	s.put(deleting)
	r.Forget("warehouse/deleted")
	r.Retain(map[string]struct{}{"warehouse/deleting": {}, "warehouse/replaced": {}, "warehouse/stripped": {}})
	replaced := key("replaced", "first000")
	replaced.UID = "another"
	s.put(replaced)
	s.put(key("stripped"))
	r.writeAll()
	if s.asked != 0 {
		t.Errorf("%d writes: %v", s.asked, s.writes)
	}
	if len(r.objects) != 2 || r.queue.len() != 0 {
		t.Errorf("%d objects and %d in the queue are left", len(r.objects), r.queue.len())
	}
}

// TestFailures checks that what fails is tried again, later and later, and that one key's failure is not another's.
func TestFailures(t *testing.T) {
	unavailable := apierrors.NewServiceUnavailable("away")
	for name, c := range map[string]struct {
		err    error
		result string
		// others says that other keys are written meanwhile, and wait is how long the key is kept back.
		others bool
		wait   time.Duration
	}{
		"conflict":           {apierrors.NewConflict(resource, "bad", nil), "conflict", true, time.Second},
		"invalid":            {&apierrors.StatusError{ErrStatus: metav1.Status{Code: http.StatusUnprocessableEntity}}, "refused", true, time.Second},
		"unavailable":        {unavailable, "failed", false, time.Second},
		"no permission":      {apierrors.NewForbidden(resource, "bad", nil), "failed", false, time.Second},
		"connection refused": {fmt.Errorf("connection refused"), "failed", false, time.Second},
		"asked to wait":      {apierrors.NewTooManyRequests("later", 7), "failed", false, 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			r := s.replica("one")
			s.put(key("bad", "first000"))
			r.use("bad", "first000")
			s.fail = func(name string) error {
				if name == "warehouse/bad" {
					return c.err
				}
				return nil
			}
			if !r.writeOne() || r.writeOne() {
				t.Fatal("want one attempt")
			}
			if got := r.series(t)["apikey_verifier_usage_writes_total result="+c.result]; got != 1 {
				t.Errorf("counted %v as %s", got, c.result)
			}
			s.put(key("good", "first000"))
			r.use("good", "first000")
			if got := r.writeOne(); got != c.others {
				t.Errorf("another key was written: %t", got)
			}
			r.now = noon.Add(c.wait - 1)
			before := s.asked
			r.writeAll()
			if s.asked != before {
				t.Errorf("tried again too soon")
			}
			r.now = noon.Add(c.wait)
			r.writeAll()
			r.now = noon.Add(c.wait + 2*minBackoff)
			r.writeAll()
			if len(s.writes["warehouse/good"]) != 1 {
				t.Errorf("a key that can be written was not, behind one that can't")
			}
			s.fail = nil
			r.now = r.now.Add(maxBackoff)
			r.writeAll()
			s.wantWrites("bad", 0)
		})
	}

	t.Run("gone", func(t *testing.T) {
		s := newServer(t)
		r := s.replica("one")
		s.put(key("a", "first000"))
		r.use("a", "first000")
		delete(s.keys, "warehouse/a")
		r.writeAll()
		r.now = noon.Add(time.Hour)
		r.use("a", "first000")
		r.writeAll()
		if s.asked != 1 {
			t.Errorf("%d attempts", s.asked)
		}
	})

	t.Run("for an hour", func(t *testing.T) {
		s := newServer(t)
		r := s.replica("one")
		for n := range 100 {
			s.put(key(fmt.Sprint("key-", n), "first000"))
		}
		s.fail = func(string) error { return unavailable }
		for second := range 3600 {
			r.now = noon.Add(time.Duration(second) * time.Second)
			for n := range 100 {
				r.use(fmt.Sprint("key-", n), "first000")
			}
			r.writeAll()
		}
		if s.asked > 80 {
			t.Errorf("%d attempts while the API server was away for an hour", s.asked)
		}
		if got := r.series(t)["apikey_verifier_usage_pending"]; got != 100 {
			t.Errorf("%v pending", got)
		}
		if got := r.series(t)["apikey_verifier_usage_oldest_pending_seconds"]; got < 3590 {
			t.Errorf("the oldest has waited for %v s", got)
		}
		s.fail = nil
		r.now = noon.Add(2 * time.Hour)
		r.writeAll()
		if len(s.writes) != 100 {
			t.Errorf("%d of 100 keys were written afterwards", len(s.writes))
		}
	})
}

// TestFlush checks that what is pending is written whoever's turn it is, and that an API server that is away is not
// waited for.
func TestFlush(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	r.options.Budget = 1e6
	r.alive("one", "two", "three")
	for n := range 50 {
		s.put(key(fmt.Sprint("key-", n), "first000"))
		r.use(fmt.Sprint("key-", n), "first000")
	}
	r.options.Clock = time.Now
	r.Flush(t.Context())
	if len(s.writes) != 50 {
		t.Errorf("%d of 50 keys were written", len(s.writes))
	}
	r.Flush(t.Context()) // There is nothing to do.

	s.fail = func(string) error { return fmt.Errorf("connection refused") }
	s.put(key("another", "first000"))
	r.use("another", "first000")
	r.Flush(t.Context())
}

// TestMetersLoseNothing has many use a credential while it is looked at. With -race it also says that none of this needs a
// lock.
func TestMetersLoseNothing(t *testing.T) {
	const users, times = 8, 20_000
	var s stack
	meters := []*meter{{stack: &s}, {stack: &s}, {stack: &s}}
	var all sync.WaitGroup
	for user := range users {
		all.Go(func() {
			for n := range times {
				meters[(user+n)%len(meters)].Used(time.Unix(int64(1+n), 0))
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	seen := map[*meter]int64{}
	look := func() { s.take(1000, func(m *meter) { seen[m] = max(seen[m], m.used.Load()) }) }
	for running := true; running; {
		look()
		select {
		case <-done:
			running = false
		default:
		}
	}
	look()
	for _, m := range meters {
		if got := m.used.Load(); got < times-2 || seen[m] != got {
			t.Errorf("used at %d, seen %d", got, seen[m])
		}
	}
}

func TestUsedAllocatesNothing(t *testing.T) {
	var s stack
	m := &meter{stack: &s}
	second := int64(0)
	if got := testing.AllocsPerRun(1000, func() {
		second++
		m.Used(time.Unix(second, 0))
		s.take(1000, func(*meter) {})
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkUsed(b *testing.B) {
	var s stack
	m := &meter{stack: &s}
	b.ReportAllocs()
	for b.Loop() {
		m.Used(noon)
	}
}

// series are the values of the replica's metrics, by name and label.
func (r *replica) series(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetName() + "=" + label.GetValue()
			}
			values[name] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue() // It is one of them.
		}
	}
	return values
}
