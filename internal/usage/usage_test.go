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

// server stands in for an API server that usage is written to. It checks uid and resourceVersion, and passes each
// change to every replica, at once or on deliver.
type server struct {
	t        *testing.T
	mu       sync.Mutex
	version  int
	keys     map[string]*keysv1alpha1.ApiKey
	replicas []*replica
	// held are the changes that have not been delivered, because hold is set.
	hold bool
	held []*keysv1alpha1.ApiKey
	// fail, if not nil, returns the error of a write.
	fail func(name string) error
	// writes are the values of lastUsedTime in the order they were written, by key.
	writes   map[string][]int64
	attempts int
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
		Canary: canary, Name: name, Budget: 20,
		Log: logr.Discard(), Clock: func() time.Time { return r.now }, Registry: r.registry,
	}, s.patch)
	s.replicas = append(s.replicas, r)
	for _, key := range s.keys {
		r.Apply(key)
	}
	return r
}

// put creates or changes a key, as anyone other than a verifier does.
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

// deliver passes the held changes to the replicas.
func (s *server) deliver() {
	for _, key := range s.held {
		for _, r := range s.replicas {
			r.Apply(key)
		}
	}
	s.held = nil
}

// patch implements patcher.
func (s *server) patch(_ context.Context, name string, patch []byte) (*keysv1alpha1.ApiKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts++
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
	status := slices.Concat([]byte(`{"status":`), must(json.Marshal(p.Status)), []byte("}"))
	if err := json.Unmarshal(status, key); err != nil {
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

// newKey returns a key with credentials of the given IDs.
func newKey(name string, ids ...string) *keysv1alpha1.ApiKey {
	k := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{
		Namespace: "warehouse", Name: name, UID: types.UID("uid of " + name),
	}}
	for _, id := range ids {
		k.Status.Credentials = append(k.Status.Credentials, keysv1alpha1.Credential{ID: id})
	}
	return k
}

// use uses a credential at the replica's time.
func (r *replica) use(name, id string) {
	r.mu.Lock()
	o := r.find("warehouse/" + name)
	number := o.slotNumber(id)
	r.keep(o)
	r.mu.Unlock()
	r.Used(number, r.now)
}

// writeOne makes the next write, and reports whether there was one.
func (r *replica) writeOne() bool {
	c := r.begin()
	if c == nil {
		return false
	}
	written, err := r.patch(context.Background(), c.object.name, c.patch)
	r.finish(c, written, err)
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

func TestUsesAreWrittenOncePerResolution(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	s.put(newKey("a", "first000"))
	for second := range 35 {
		r.now = noon.Add(time.Duration(second) * time.Second)
		r.use("a", "first000")
		r.writeAll()
	}
	s.wantWrites("a", 0, 10, 20, 30)
}

func TestWritesOfOtherReplicasAreNotRepeated(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	s.put(newKey("a", "first000"))
	r.use("a", "first000")
	other := s.keys["warehouse/a"].DeepCopy()
	other.Status.Usage = []keysv1alpha1.CredentialUsage{{
		ID: "first000", LastUsedTime: metav1.Time{Time: noon.Add(-9 * time.Second)},
	}}
	s.put(other)
	r.writeAll()
	s.wantWrites("a")
	r.now = noon.Add(time.Second)
	r.use("a", "first000")
	r.writeAll()
	s.wantWrites("a", 1)
}

func TestTheKeyHasTheLatestTimeOfItsCredentials(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	s.put(newKey("a", "first000", "second00"))
	r.use("a", "second00")
	r.writeAll()
	r.now = noon.Add(time.Minute)
	r.use("a", "first000")
	r.writeAll()
	status := s.keys["warehouse/a"].Status
	if len(status.Usage) != 2 || status.Usage[0].ID != "first000" ||
		!status.Usage[0].LastUsedTime.Time.Equal(noon.Add(time.Minute)) || !status.Usage[1].LastUsedTime.Time.Equal(noon) {
		t.Errorf("usage is %v", status.Usage)
	}
	if !status.LastUsedTime.Time.Equal(noon.Add(time.Minute)) {
		t.Errorf("last used at %s", status.LastUsedTime)
	}

	// After a rotation the first credential is gone. The next write removes its time; the time of the key stays.
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

// TestTimesNeverGoBack uses keys through replicas that see changes late and whose clocks differ by up to the resolution
// and are set back. Clocks that differ by more are in clock_test.go.
func TestTimesNeverGoBack(t *testing.T) {
	s := newServer(t)
	replicas := []*replica{s.replica("one"), s.replica("two"), s.replica("three")}
	for n := range 5 {
		s.put(newKey(fmt.Sprint("key-", n), "first000"))
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
	for range 20 { // More often than there are keys, because some writes conflict.
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

// TestKeysAgeEvenlyBeyondTheBudget uses more keys than the budget can write within the resolution.
func TestKeysAgeEvenlyBeyondTheBudget(t *testing.T) {
	const keys, perSecond, seconds = 400, 10, 160
	s := newServer(t)
	replicas := []*replica{s.replica("one"), s.replica("two")}
	for n := range keys {
		s.put(newKey(fmt.Sprint("key-", n), "first000"))
	}
	for second := range seconds {
		for _, r := range replicas {
			r.now = noon.Add(time.Duration(second) * time.Second)
			r.observeAlive("one", "two")
			for n := range keys {
				r.use(fmt.Sprint("key-", n), "first000")
			}
		}
		s.hold = true // Each replica sees the other's writes a second late.
		for range perSecond / 2 {
			for _, r := range replicas {
				r.writeOne()
			}
		}
		s.hold = false
		s.deliver()
	}
	if s.attempts > seconds*perSecond {
		t.Errorf("%d writes in %d seconds", s.attempts, seconds)
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
