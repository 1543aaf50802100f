// Package feed keeps the verifier's index up to date with the API server, and knows how far it is.
//
//	API server ──watch──▶ reflector ──▶ index        no queue between: what has been observed has been applied
//	    ▲                     │
//	    │ nonce               │ the canary
//	    └────── prober ◀──────┘                      freshAsOf = when the nonce was written
//
// An open watch proves nothing: bookmarks come about once a minute, and a half-open connection hides for longer. So each
// verifier writes a nonce through the same resource that it watches, every two seconds, and what it sees of it is the
// proof. Tenants and AccessPolicies are few: a consistent list proves those, every few seconds or, where it is long, less often.
//
// A proof that does not come in time ends all connections and all watches; everything is listed and watched anew. What a
// watch has lost without its connection breaking, no nonce tells: every few minutes the index is held against a full list.
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
	// Canary is the ApiKey that freshness is proved through.
	Canary types.NamespacedName
	// Name is this verifier's own among all that run: at most 63 characters of a label's value.
	Name string
	// Pod is the UID of the pod that this verifier runs in, or blank.
	Pod string
	// MaxStaleness is how old the last proof may be for a request to pass.
	MaxStaleness time.Duration
	// AuditEvery is how often the index is held against a full list. Zero is as often as MaxStaleness asks for.
	AuditEvery time.Duration
	// View is what the feed writes to.
	View *index.View
	// Usage, if not nil, is told of every ApiKey, and notes the uses of each.
	Usage *usage.Recorder
	Log   logr.Logger
	// Clock never goes back, and its times have a monotonic reading.
	Clock func() time.Time
	// Registry is where the feed's metrics go. Nil is nowhere.
	Registry prometheus.Registerer
}

// Feed keeps an index up to date.
type Feed struct {
	options   Options
	intervals *intervals
	// client is for watches and nonces. Lists come over bulk, which has connections of its own: what a watch shows meanwhile must
	// not wait behind them.
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
	// awaited holds one signal at most: something has been applied that the controller waits for.
	awaited chan struct{}
	// unacknowledged is how many such changes there have been since a nonce was last written for one.
	unacknowledged atomic.Int64
	// listsDue is when tenants and policies are to be listed again. It is prove's own.
	listsDue time.Time
}

// New returns a feed that does nothing until it is run.
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
	// What comes of a list of all keys is noted. That an audit gets on is no sign that such a list does.
	metered := func(next http.RoundTripper) http.RoundTripper {
		return &progressTransport{next: next, sync: f.initialSync}
	}
	if f.client, err = f.newClient(metered); err == nil {
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

// releaseMemory gives back what reading a list took.
func (f *Feed) releaseMemory() {
	f.keys.compact()
	gctuning.SaveMemory(false)
	debug.FreeOSMemory()
}

// newClient returns a client with connections of its own, which are the feed's to close.
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
	config.DisableCompression = true // It costs both sides more than it spares a network within a cluster.
	config.Dial = f.dialer.DialContext
	config.Wrap(wrap)
	return rest.RESTClientFor(config)
}

// requestAcknowledgement has the controller told how far the index is, soon.
func (f *Feed) requestAcknowledgement() {
	f.unacknowledged.Add(1)
	select {
	case f.awaited <- struct{}{}:
	default:
	}
}

// rollbackDetected has everything refused for as long as the process runs. What was revoked or deleted since the backup may be there
// again, and works again with whoever has not seen its end: somebody has to put that right first. Whoever starts the verifier
// again says that it was.
func (f *Feed) rollbackDetected(sign string) {
	if f.freshness.rolledBack.CompareAndSwap(false, true) {
		f.options.Log.Error(errors.New(sign), "The API server has gone back in time: etcd was restored from a backup. Everything is refused "+
			"until keys that have come back are revoked again (docs/restore.md) and the verifiers are started again")
	}
}

// contest has everything refused for as long as another process's word may pass for this one's. The other learns of that at once.
func (f *Feed) contest(by rival) {
	if by.until.IsZero() {
		if f.freshness.contested.Swap(nil) != nil {
			f.options.Log.Info("No other verifier has this one's name any more", "name", f.options.Name)
		}
		return
	}
	if f.freshness.contested.Swap(&by.until) == nil {
		f.options.Log.Error(errors.New("another verifier writes to the canary under the name of this one"),
			"Everything is refused until the other has stopped: give each verifier a --name of its own", "name", f.options.Name, "other", by.instance)
		f.requestAcknowledgement()
	}
}

// Freshness says how far the index can be trusted at a given time.
func (f *Feed) Freshness(now time.Time) verify.Freshness { return f.freshness.at(now) }

// FreshAsOf returns the time before which everything that was committed has been applied; zero while there is none.
func (f *Feed) FreshAsOf() time.Time { return *f.freshness.oldest.Load() }

// Ready says why no request can pass yet, or any more; nil if it can.
func (f *Feed) Ready() error {
	if f.freshness.rolledBack.Load() {
		return errors.New("etcd was restored from a backup: see the runbook, then start the verifiers again")
	}
	switch now := f.options.Clock(); f.Freshness(now) {
	case verify.Contested:
		return fmt.Errorf("another verifier has the name %s too, so neither can say what it knows: give each a --name of its own", f.options.Name)
	case verify.NotSynced:
		return fmt.Errorf("the first list of keys, tenants and policies is not complete")
	case verify.Stale:
		if f.freshness.signedOff.Load() {
			return errors.New("the verifier has signed off")
		}
		if f.FreshAsOf().IsZero() {
			return fmt.Errorf("the first freshness probe has not come back")
		}
		return fmt.Errorf("last known to be up to date %s ago, which is more than %s", age(f.FreshAsOf(), now).Round(time.Second), f.options.MaxStaleness)
	}
	return nil
}

// Describe says for people how fresh the index is.
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
	// Nobody must wait for a verifier that is gone. From here on it accepts nothing: nobody does wait for it.
	f.freshness.signedOff.Store(true)
	goodbye, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.intervals.timeout())
	defer cancel()
	if err := f.prober.signOff(goodbye); err != nil {
		f.options.Log.Info("Could not sign off: the controller waits for this verifier until --max-staleness has passed", "error", err.Error())
	}
	return nil
}

// resourceKind is how a resource is read.
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

// reflect lists and watches a resource into a store until the context ends, and begins again from a list whenever an epoch
// ends. Every list is a consistent read: a server that lags behind must not take back what another has shown already.
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
	// The API server's return is noticed within seconds, however long it was away.
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.5, Cap: 5 * time.Second, Steps: 10}
	for ctx.Err() == nil {
		cache.NewReflectorWithOptions(listWatch, k.expected, store, cache.ReflectorOptions{Name: k.resource, Backoff: &backoff}).
			RunWithContext(f.generations.current())
	}
}
