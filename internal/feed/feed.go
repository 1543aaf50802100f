// Package feed keeps the verifier's index up to date with the API server, and knows how current it is.
//
//	API server ──watch──▶ reflector ──▶ index        no queue in between: whatever is observed is applied
//	    ▲                     │
//	    │ nonce               │ the canary
//	    └────── prober ◀──────┘                      freshAsOf = when the nonce was written
//
// An open watch proves nothing: bookmarks come about once a minute, and a half-open connection may go unnoticed for
// longer. So every two seconds each verifier writes a nonce to the resource that it watches. When the nonce comes back
// on the watch, that proves the index to be current. Tenants and AccessPolicies are few. For those, a consistent list
// is the proof, every few seconds, or less often if the list is long.
//
// If a proof does not arrive in time, the feed closes all connections and ends all watches, and lists and watches
// everything again. A nonce does not reveal an event that a watch has lost while its connection stayed open. For that,
// an audit compares the index with a full list every few minutes.
package feed

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/transport"
	"k8s.io/client-go/util/connrotation"
	"k8s.io/utils/ptr"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/gctuning"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/usage"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// Options configure a Feed.
type Options struct {
	// Config reaches the API server as the verifier's account.
	Config *rest.Config
	// Canary is the ApiKey that the nonces are written to.
	Canary types.NamespacedName
	// Name is the name of this verifier, unique among those that run: a label value of at most 63 characters.
	Name string
	// Pod is the UID of the pod that this verifier runs in, or blank.
	Pod string
	// MaxStaleness is how old the last proof may be for requests to be allowed.
	MaxStaleness time.Duration
	// AuditEvery is how often the index is compared with a full list. If zero, it follows from MaxStaleness.
	AuditEvery time.Duration
	// View is what the feed writes to.
	View *index.View
	// Usage is optional. It is passed every ApiKey and assigns usage slots to its credentials.
	Usage *usage.Recorder
	Log   logr.Logger
	// Clock never goes back, and its times have a monotonic reading.
	Clock func() time.Time
	// Registry is optional. The feed registers its metrics there.
	Registry prometheus.Registerer
}

// Feed keeps an index up to date.
type Feed struct {
	options   Options
	intervals *intervals
	// client is for watches and nonces. bulk is for lists and has its own connections, so that watch events don't wait
	// behind a list.
	client      rest.Interface
	bulk        rest.Interface
	dialer      *connrotation.Dialer
	initialSync *initialSync
	generations generations
	freshness   *freshness
	prober      *prober
	metrics     *instruments
	keys        *credentialStore
	tenants     *smallStore[*keysv1alpha1.Tenant]
	policies    *smallStore[*keysv1alpha1.AccessPolicy]
	// awaited holds at most one signal: the feed has applied something that the controller waits for.
	awaited chan struct{}
	// unacknowledged counts such changes since a nonce was last written for one.
	unacknowledged atomic.Int64
	// listsDue is when tenants and policies are to be listed again. Only prove uses it.
	listsDue time.Time
}

// New returns a feed. It does nothing until it is started.
func New(options Options) (*Feed, error) {
	f := &Feed{
		options:     options,
		intervals:   &intervals{bound: options.MaxStaleness},
		dialer:      connrotation.NewDialer(dial),
		initialSync: &initialSync{clock: options.Clock},
		freshness:   newFreshness(options.MaxStaleness),
		tenants:     newSmallStore(applyTenants(options.View)),
		policies:    newSmallStore(applyPolicies(options.View)),
		awaited:     make(chan struct{}, 1),
	}
	var err error
	// Only client reports progress: the progress of an audit says nothing about that of an initial sync.
	reporting := func(next http.RoundTripper) http.RoundTripper {
		return &progressTransport{next: next, sync: f.initialSync}
	}
	if f.client, err = f.newClient(reporting); err == nil {
		f.bulk, err = f.newClient(nil)
	}
	if err != nil {
		return nil, fmt.Errorf("making a client for the API server: %w", err)
	}
	f.keys = &credentialStore{
		credentials: options.View.Credentials,
		synced: func() {
			f.freshness.keysSynced()
			f.initialSync.end()
			time.AfterFunc(time.Second, f.releaseMemory) // The reflector is done with the list by then.
		},
		usage: options.Usage,
		observe: func(canary *keysv1alpha1.ApiKey) {
			written, ok := f.prober.observe(canary)
			f.contest(f.prober.contested())
			if ok {
				f.freshness.prove(apiKeys, written)
			}
		},
		rollbackDetected: f.rollbackDetected,
		awaited:          f.requestAcknowledgement,
	}
	f.prober = newProber(f.client, options, f.keys.applied, f.intervals)
	f.metrics = newInstruments(f)
	return f, nil
}

// releaseMemory returns the memory that reading a list took to the operating system.
func (f *Feed) releaseMemory() {
	f.keys.compact()
	gctuning.SaveMemory(false)
	debug.FreeOSMemory()
}

// newClient returns a client with its own connections, which reconnect can close.
func (f *Feed) newClient(wrap transport.WrapperFunc) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := keysv1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config := rest.CopyConfig(f.options.Config)
	config.GroupVersion = &keysv1alpha1.GroupVersion
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.QPS = -1
	config.DisableCompression = true // Within a cluster it costs both sides more than it saves on the network.
	config.Dial = f.dialer.DialContext
	config.Wrap(wrap)
	return rest.RESTClientFor(config)
}

// requestAcknowledgement makes prove write a nonce soon, which tells the controller how far the index is.
func (f *Feed) requestAcknowledgement() {
	f.unacknowledged.Add(1)
	select {
	case f.awaited <- struct{}{}:
	default:
	}
}

// rollbackDetected makes the verifier refuse everything for as long as the process runs. Keys that were revoked or
// deleted after the backup may exist again, and would work again. An operator has to fix that first, and then restarts
// the verifiers.
func (f *Feed) rollbackDetected(evidence string) {
	if f.freshness.rolledBack.CompareAndSwap(false, true) {
		f.options.Log.Error(errors.New(evidence),
			"The API server has gone back in time: etcd was restored from a backup. Everything is refused "+
				"until keys that have come back are revoked again (docs/restore.md) and the verifiers are started again")
	}
}

// contest makes the verifier refuse everything for as long as the probes of another process may be taken for its own.
// The other process learns of that at once.
func (f *Feed) contest(by rival) {
	if by.until.IsZero() {
		if f.freshness.contested.Swap(nil) != nil {
			f.options.Log.Info("No other verifier has this one's name any more", "name", f.options.Name)
		}
		return
	}
	if f.freshness.contested.Swap(&by.until) == nil {
		f.options.Log.Error(errors.New("another verifier writes to the canary under the name of this one"),
			"Everything is refused until the other has stopped: give each verifier a --name of its own",
			"name", f.options.Name, "other", by.instance)
		f.requestAcknowledgement()
	}
}

// Freshness reports whether the index is current enough to decide at a given time.
func (f *Feed) Freshness(now time.Time) verify.Freshness { return f.freshness.at(now) }

// FreshAsOf returns the time up to which all committed changes are known to have been applied. It is zero before the
// first proof.
func (f *Feed) FreshAsOf() time.Time { return *f.freshness.oldest.Load() }

// Ready returns nil if requests can be allowed, or an error that says why not.
func (f *Feed) Ready() error {
	if f.freshness.rolledBack.Load() {
		return errors.New("etcd was restored from a backup: see the runbook, then start the verifiers again")
	}
	switch now := f.options.Clock(); f.Freshness(now) {
	case verify.Contested:
		return fmt.Errorf("another verifier has the name %s too, so neither can say what it knows: "+
			"give each a --name of its own", f.options.Name)
	case verify.NotSynced:
		return fmt.Errorf("the first list of keys, tenants and policies is not complete")
	case verify.Stale:
		if f.freshness.signedOff.Load() {
			return errors.New("the verifier has signed off")
		}
		if f.FreshAsOf().IsZero() {
			return fmt.Errorf("the first freshness probe has not come back")
		}
		return fmt.Errorf("last known to be up to date %s ago, which is more than %s",
			age(f.FreshAsOf(), now).Round(time.Second), f.options.MaxStaleness)
	}
	return nil
}

// Describe returns, for people, how fresh the index is.
func (f *Feed) Describe() string {
	asOf := f.FreshAsOf()
	if asOf.IsZero() {
		return "freshAsOf: never"
	}
	return fmt.Sprintf("freshAsOf: %s (%s ago, of at most %s)", asOf.UTC().Format("2006-01-02T15:04:05.000Z07:00"),
		age(asOf, f.options.Clock()).Round(time.Millisecond), f.options.MaxStaleness)
}

// Start runs the feed until the context ends.
func (f *Feed) Start(ctx context.Context) error {
	f.generations.begin(ctx)
	var group sync.WaitGroup
	for _, run := range []func(context.Context){
		func(ctx context.Context) { f.reflect(ctx, allKeys, f.keys) },
		func(ctx context.Context) { f.reflect(ctx, allTenants, f.tenants) },
		func(ctx context.Context) { f.reflect(ctx, allPolicies, f.policies) },
		f.prove,
		f.superviseProbes,
		f.audit,
	} {
		group.Go(func() { run(ctx) })
	}
	group.Wait()
	// Sign off, so that the controller doesn't wait for this verifier. From here on it must allow nothing.
	f.freshness.signedOff.Store(true)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.intervals.timeout())
	defer cancel()
	if err := f.prober.signOff(last); err != nil {
		f.options.Log.Info("Could not sign off: the controller waits for this verifier until --max-staleness has passed",
			"error", err.Error())
	}
	return nil
}

// resourceKind is a resource and how its objects are read.
type resourceKind struct {
	resource string
	expected runtime.Object
	read     objectReader
}

var (
	// allKeys are many; the others are few.
	allKeys     = resourceKind{"apikeys", &keysv1alpha1.ApiKey{}, readKey}
	allTenants  = resourceKind{"tenants", &keysv1alpha1.Tenant{}, readTenant}
	allPolicies = resourceKind{"accesspolicies", &keysv1alpha1.AccessPolicy{}, readPolicy}
)

// reflect lists and watches a resource into a store until the context ends. It starts over with a list whenever a watch
// generation ends. Every list is a consistent read, so that an API server that lags behind can't undo what another has
// already shown.
func (f *Feed) reflect(ctx context.Context, k resourceKind, store cache.ReflectorStore) {
	request := func(options metav1.ListOptions) *rest.Request {
		return f.client.Get().Resource(k.resource).VersionedParams(&options, metav1.ParameterCodec)
	}
	listWatch := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			if options.ResourceVersion == "0" {
				options.ResourceVersion = ""
			}
			f.initialSync.begin(k.resource)
			return request(options).Do(ctx).Get()
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.Watch = true
			if ptr.Deref(options.SendInitialEvents, false) {
				f.initialSync.begin(k.resource)
			}
			stream, err := request(options).Stream(ctx)
			if err != nil {
				return nil, err
			}
			return watchStream(stream, k.read), nil
		},
	}
	// However long the API server was away, its return is noticed within seconds.
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Cap: 5 * time.Second, Steps: 10}
	for ctx.Err() == nil {
		options := cache.ReflectorOptions{Name: k.resource, Backoff: &backoff}
		cache.NewReflectorWithOptions(listWatch, k.expected, store, options).RunWithContext(f.generations.current())
	}
}
