package usage

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
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
	o := r.find("warehouse/" + name)
	number := o.number(id)
	r.keep(o)
	r.mu.Unlock()
	r.Used(number, r.now)
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
	r.now = noon.Add(time.Minute - Resolution) // Set back: the key was used at a later time than this.
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

// TestTimesNeverGoBack has replicas with clocks that differ by as much as they may and that are set back, and whose knowledge is old. What is
// further ahead is ahead_test.go's.
func TestTimesNeverGoBack(t *testing.T) {
	s := newServer(t)
	replicas := []*replica{s.replica("one"), s.replica("two"), s.replica("three")}
	for n := range 5 {
		s.put(key(fmt.Sprint("key-", n), "first000"))
	}
	random := rand.New(rand.NewPCG(1, 2))
	latest := map[string]int64{}
	for n := range 5000 {
		r := replicas[random.IntN(len(replicas))]
		for _, any := range replicas {
			any.now = noon.Add(time.Duration(n+random.IntN(int(resolution))) * time.Second)
		}
		s.hold = random.IntN(3) > 0
		name := fmt.Sprint("key-", random.IntN(5))
		r.use(name, "first000")
		latest["warehouse/"+name] = max(latest["warehouse/"+name], r.now.Unix()-noon.Unix())
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
