package usage_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/decide"
	"github.com/nexuscommerce/apikey-operator/internal/feed"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/usage"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const timeout = time.Minute

var canary = types.NamespacedName{Namespace: controlplane.SystemNamespace, Name: keysv1alpha1.CanaryName}

// start starts a control plane with the roles and policies of config/rbac and config/policy.
func start(t *testing.T) *controlplane.ControlPlane {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	return install.ControlPlane(t, controlplane.Options{}, "rbac", "policy", "verifier/canary.yaml")
}

// replica is a verifier without its surfaces.
type replica struct {
	*decide.Decider
	*usage.Recorder
	view *index.View
	feed *feed.Feed
	stop func()
}

// startReplica starts a replica whose clock is ahead by some time.
func startReplica(t *testing.T, cp *controlplane.ControlPlane, ahead time.Duration) *replica {
	t.Helper()
	name, clock := fixture.Name("verifier"), func() time.Time { return time.Now().Add(ahead) }
	config := cp.ServiceAccountConfig("apikey-verifier")
	r := &replica{view: index.NewView()}
	var err error
	r.Recorder, err = usage.New(usage.Options{
		Config: config, Canary: canary, Name: name, Budget: 1000,
		Log: logr.Discard(), Clock: clock, Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.feed, err = feed.New(feed.Options{
		Config: config, Canary: canary, Name: name, MaxStaleness: time.Minute,
		View: r.view, Usage: r.Recorder, Log: logr.Discard(), Clock: clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Decider = decide.New(decide.Options{
		View: r.view, Source: r.feed, Clock: clock, Registry: prometheus.NewRegistry(), Uses: r.Recorder,
	})
	feeding, stopFeeding := context.WithCancel(context.Background())
	recording, stopRecording := context.WithCancel(feeding)
	var feed, recorder sync.WaitGroup
	feed.Go(func() {
		if err := r.feed.Start(feeding); err != nil {
			t.Error(err)
		}
	})
	recorder.Go(func() { r.Start(recording) })
	r.stop = sync.OnceFunc(func() {
		stopRecording()
		recorder.Wait()
		flush, cancel := context.WithTimeout(feeding, timeout)
		defer cancel()
		r.Flush(flush)
		stopFeeding()
		feed.Wait()
	})
	t.Cleanup(r.stop)
	program.WaitUntil(t, timeout, "a replica that is fresh", r.feed.Ready)
	return r
}

// issued is a key with a token, as the controller leaves it.
type issued struct {
	client.ObjectKey
	tenant, token string
}

func issue(t *testing.T, cp *controlplane.ControlPlane, keys int) []issued {
	t.Helper()
	name := fixture.Name("tenant")
	tenant, namespace := fixture.Tenant(name), fixture.Namespace(fixture.Name("ns"), name)
	objects := []client.Object{tenant, namespace}
	for n := range keys {
		objects = append(objects, fixture.ApiKey(namespace.Name, fmt.Sprint("key-", n)))
	}
	root, err := token.RootFrom([]byte("a root key of 32 bytes for tests"))
	if err != nil {
		t.Fatal(err)
	}
	var all []issued
	for _, object := range objects {
		if err := cp.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		key, ok := object.(*keysv1alpha1.ApiKey)
		if !ok {
			continue
		}
		tok, err := token.Derive(root, token.FormatLive, string(key.UID), "7Hk2PqZx")
		if err != nil {
			t.Fatal(err)
		}
		key.Status = keysv1alpha1.ApiKeyStatus{
			TenantID:    tenant.Spec.ID,
			Scopes:      key.Spec.Scopes,
			Credentials: []keysv1alpha1.Credential{{ID: "7Hk2PqZx", Digest: tok.Digest().String(), IssuedTime: metav1.Now()}},
		}
		// The policy lets only the controller write status; not even administrators may.
		if err := as(t, cp, "apikey-controller").Status().Update(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		all = append(all, issued{client.ObjectKeyFromObject(key), tenant.Spec.ID, tok.Reveal()})
	}
	return all
}

func as(t *testing.T, cp *controlplane.ControlPlane, account string) client.Client {
	t.Helper()
	c, err := client.New(cp.ServiceAccountConfig(account), client.Options{Scheme: cp.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (r *replica) use(k issued) error {
	decision := r.Decide("test", &verify.Request{
		Authorization: []string{"Bearer " + k.token}, TenantID: []string{k.tenant},
		FixedScopes: []keysv1alpha1.Scope{"products:read"},
	})
	if decision.Outcome != verify.Allow {
		return fmt.Errorf("%s is refused: %s", k, decision.Reason)
	}
	return nil
}

// writes are the values of status.lastUsedTime, in the order in which they were committed, by key.
type writes struct {
	mu   sync.Mutex
	keys map[string][]time.Time
}

func watchWrites(t *testing.T, cp *controlplane.ControlPlane, keys []issued) *writes {
	t.Helper()
	watcher, err := client.NewWithWatch(cp.Config, client.Options{Scheme: cp.Client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	events, err := watcher.Watch(t.Context(), &keysv1alpha1.ApiKeyList{}, client.InNamespace(keys[0].Namespace))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(events.Stop)
	w := &writes{keys: map[string][]time.Time{}}
	go func() {
		for event := range events.ResultChan() {
			key, ok := event.Object.(*keysv1alpha1.ApiKey)
			if !ok || key.Status.LastUsedTime == nil {
				continue
			}
			w.mu.Lock()
			w.keys[key.Name] = append(w.keys[key.Name], key.Status.LastUsedTime.Time)
			w.mu.Unlock()
		}
	}()
	return w
}

func (w *writes) all() map[string][]time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.keys)
}

// await uses all keys through all replicas, over and over, until each key has been written as often as wanted.
func (w *writes) await(t *testing.T, keys []issued, replicas []*replica, times int) {
	t.Helper()
	program.WaitUntil(t, timeout, fmt.Sprint(times, " writes of each key"), func() error {
		for _, r := range replicas {
			for _, key := range keys {
				if err := r.use(key); err != nil {
					return err
				}
			}
		}
		for _, key := range keys {
			if got := w.all()[key.Name]; len(got) < times {
				return fmt.Errorf("%s was written at %s", key, got)
			}
		}
		return nil
	})
}

func TestCluster(t *testing.T) {
	cp := start(t)
	for name, test := range map[string]func(*testing.T, *controlplane.ControlPlane){
		"two replicas":     testTwoReplicas,
		"clocks differ":    testClocksThatDiffer,
		"stopping flushes": testStoppingFlushes,
	} {
		t.Run(name, func(t *testing.T) { test(t, cp) })
	}
}

// testTwoReplicas sends the same traffic to two verifiers, with the rights of config, until every key has been written
// twice. No write may be superfluous.
func testTwoReplicas(t *testing.T, cp *controlplane.ControlPlane) {
	keys := issue(t, cp, 30)
	replicas := []*replica{startReplica(t, cp, 0), startReplica(t, cp, 0)}
	w := watchWrites(t, cp, keys)
	w.await(t, keys, replicas, 2)
	for _, r := range replicas {
		r.stop()
	}
	for name, times := range w.all() {
		for n := range times[1:] {
			if gap := times[n+1].Sub(times[n]); gap < usage.Resolution {
				t.Errorf("%s was written twice within the resolution: %s", name, times)
			}
		}
	}

	key := &keysv1alpha1.ApiKey{}
	if err := cp.Client.Get(t.Context(), keys[0].ObjectKey, key); err != nil {
		t.Fatal(err)
	}
	if len(key.Status.Usage) != 1 || key.Status.Usage[0].ID != "7Hk2PqZx" ||
		!key.Status.Usage[0].LastUsedTime.Equal(key.Status.LastUsedTime) {
		t.Errorf("usage %v, last used %s", key.Status.Usage, key.Status.LastUsedTime)
	}
	managers := map[string]int{}
	for _, fields := range key.ManagedFields {
		managers[fields.Manager+" "+fields.Subresource]++
	}
	if managers["apikey-verifier status"] != 1 {
		t.Errorf("fields are managed by %v, want one manager for all verifiers", managers)
	}
}

// testClocksThatDiffer sends the same traffic to three verifiers whose clocks differ by no more than the resolution.
// The times that they write may only increase. For clocks that differ by more, see TestTimesInTheFutureAreReplaced.
func testClocksThatDiffer(t *testing.T, cp *controlplane.ControlPlane) {
	keys := issue(t, cp, 10)
	const off = usage.Resolution/2 - time.Second
	behind, right, ahead := startReplica(t, cp, -off), startReplica(t, cp, 0), startReplica(t, cp, off)
	w := watchWrites(t, cp, keys)
	w.await(t, keys, []*replica{behind}, 1)
	w.await(t, keys, []*replica{behind, right}, 2)
	w.await(t, keys, []*replica{behind, right, ahead}, 3)
	before := time.Now().Add(-usage.Resolution)
	w.await(t, keys, []*replica{behind, right}, 4)
	for _, r := range []*replica{ahead, right, behind} {
		r.stop()
	}
	for name, times := range w.all() {
		if !slices.IsSortedFunc(times, time.Time.Compare) || times[len(times)-1].Before(before) {
			t.Errorf("%s was written at %s", name, times)
		}
	}
}

// testStoppingFlushes checks that a replica writes everything before it stops, so that uses which only it has seen are
// not lost.
func testStoppingFlushes(t *testing.T, cp *controlplane.ControlPlane) {
	keys := issue(t, cp, 10)
	one, _ := startReplica(t, cp, 0), startReplica(t, cp, 0)
	for _, key := range keys {
		program.WaitUntil(t, timeout, "an index that has "+key.Name, func() error { return one.use(key) })
	}
	one.stop()
	for _, k := range keys {
		key := &keysv1alpha1.ApiKey{}
		if err := cp.Client.Get(t.Context(), k.ObjectKey, key); err != nil {
			t.Fatal(err)
		}
		if key.Status.LastUsedTime == nil {
			t.Errorf("%s was used, and its status doesn't say so", k)
		}
	}
}
