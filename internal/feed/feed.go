// Package feed keeps the verifier's index up to date with the API server, and knows how far it is.
//
//	API server ──watch──▶ reflector ──▶ index        no queue between: what has been observed has been applied
//	    ▲                     │
//	    │ nonce               │ the canary
//	    └────── prober ◀──────┘                      freshAsOf = when the nonce was written
//
// An open watch proves nothing: bookmarks come about once a minute, and a half-open connection hides for longer. So each
// verifier writes a nonce through the same resource that it watches, every two seconds, and what it sees of it is the
// proof. Tenants and AccessPolicies are few: a consistent list every two seconds proves those.
package feed

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/connrotation"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	// interval is how often freshness is proved.
	interval = 2 * time.Second
	// ackGap is how soon after one probe the next may follow, where the controller waits for it.
	ackGap = 50 * time.Millisecond
	// patience is how long a proof may take before the connection is given up.
	patience = 5 * time.Second
)

// Options configure a Feed.
type Options struct {
	// Config reaches the API server as the verifier's account.
	Config *rest.Config
	// Canary is the ApiKey that freshness is proved through.
	Canary types.NamespacedName
	// Name is this verifier's own among all that run: at most 63 characters of a label's value.
	Name string
	// MaxStaleness is how old the last proof may be for a request to pass.
	MaxStaleness time.Duration
	// View is what the feed writes to.
	View *index.View
	Log  logr.Logger
	// Clock is time.Now but in tests.
	Clock func() time.Time
}

// Feed keeps an index up to date.
type Feed struct {
	options   Options
	client    rest.Interface
	dialer    *connrotation.Dialer
	freshness *freshness
	prober    *prober
	keys      *credentialStore
	tenants   *smallStore[*keysv1alpha1.Tenant]
	policies  *smallStore[*keysv1alpha1.AccessPolicy]
	// awaited holds one signal at most: something has been applied that the controller waits for.
	awaited chan struct{}
}

// New returns a feed that does nothing until it is run.
func New(options Options) (*Feed, error) {
	scheme := runtime.NewScheme()
	if err := keysv1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	config := rest.CopyConfig(options.Config)
	config.GroupVersion = &keysv1alpha1.GroupVersion
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.QPS = -1
	dialer := connrotation.NewDialer(dial)
	config.Dial = dialer.DialContext
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for the API server: %w", err)
	}
	f := &Feed{
		options:   options,
		client:    client,
		dialer:    dialer,
		freshness: newFreshness(options.MaxStaleness),
		tenants:   newSmallStore(applyTenants(options.View)),
		policies:  newSmallStore(applyPolicies(options.View)),
		awaited:   make(chan struct{}, 1),
	}
	f.keys = &credentialStore{
		credentials: options.View.Credentials,
		synced:      f.freshness.keysSynced,
		observe: func(canary *keysv1alpha1.ApiKey) {
			if written, ok := f.prober.observe(canary); ok {
				f.freshness.prove(apiKeys, written)
			}
		},
		awaited: func() {
			select {
			case f.awaited <- struct{}{}:
			default:
			}
		},
	}
	f.prober = newProber(client, options, f.keys.applied)
	return f, nil
}

// Freshness says how far the index can be trusted at a given time.
func (f *Feed) Freshness(now time.Time) verify.Freshness { return f.freshness.at(now) }

// FreshAsOf returns the time before which everything that was committed has been applied; zero while there is none.
func (f *Feed) FreshAsOf() time.Time { return *f.freshness.oldest.Load() }

// Ready says why no request can pass yet, or any more; nil if it can.
func (f *Feed) Ready() error {
	switch now := f.options.Clock(); f.Freshness(now) {
	case verify.NotSynced:
		return fmt.Errorf("the first list of keys, tenants and policies is not complete")
	case verify.Stale:
		if f.FreshAsOf().IsZero() {
			return fmt.Errorf("the first freshness probe has not come back")
		}
		return fmt.Errorf("last known to be up to date %s ago, which is more than %s", age(f.FreshAsOf(), now).Round(time.Second), f.options.MaxStaleness)
	}
	return nil
}

// Start runs the feed until the context ends.
func (f *Feed) Start(ctx context.Context) error {
	var group sync.WaitGroup
	for _, run := range []func(context.Context){
		func(ctx context.Context) { reflect(ctx, f, "apikeys", &keysv1alpha1.ApiKey{}, f.keys) },
		func(ctx context.Context) { reflect(ctx, f, "tenants", &keysv1alpha1.Tenant{}, f.tenants) },
		func(ctx context.Context) { reflect(ctx, f, "accesspolicies", &keysv1alpha1.AccessPolicy{}, f.policies) },
		f.prove,
	} {
		group.Go(func() { run(ctx) })
	}
	group.Wait()
	// The others must not wait for a verifier that is gone.
	goodbye, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := f.prober.withdraw(goodbye); err != nil {
		f.options.Log.Info("Could not withdraw the freshness probe", "error", err.Error())
	}
	return nil
}

// reflect lists and watches a resource into a store until the context ends. Every list is a consistent read: a server
// that lags behind must not take back what another has shown already.
func reflect(ctx context.Context, f *Feed, resource string, expected runtime.Object, store cache.ReflectorStore) {
	consistent := func(options *metav1.ListOptions) {
		if options.ResourceVersion == "0" {
			options.ResourceVersion = ""
		}
	}
	listWatch := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			consistent(&options)
			return f.client.Get().Resource(resource).VersionedParams(&options, metav1.ParameterCodec).Do(ctx).Get()
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.Watch = true
			return f.client.Get().Resource(resource).VersionedParams(&options, metav1.ParameterCodec).Watch(ctx)
		},
	}
	cache.NewReflectorWithOptions(listWatch, expected, store, cache.ReflectorOptions{Name: resource}).RunWithContext(ctx)
}

// prove proves the freshness of the three streams until the context ends, and gives up a connection over which a proof
// does not come in time: the reflectors then list and watch anew over another. In between it tells the controller how far
// the index is, as soon as the controller waits for that.
func (f *Feed) prove(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	failing := f.attempt(ctx, f.proveOnce, false)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			failing = f.attempt(ctx, f.proveOnce, failing)
		case <-f.awaited:
			failing = f.attempt(ctx, f.prober.send, failing)
			pause(ctx, ackGap)
		}
	}
}

// attempt makes one attempt at a proof, and says whether it failed. What is logged is a change.
func (f *Feed) attempt(ctx context.Context, prove func(context.Context) error, failing bool) bool {
	call, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := prove(call)
	if oldest, ok := f.prober.oldestPending(); err == nil && ok && f.options.Clock().Sub(oldest) > patience {
		err = fmt.Errorf("a freshness probe has not come back on the watch for %s", patience)
		f.prober.forget()
	}
	if ctx.Err() != nil {
		return failing
	}
	if err == nil {
		if failing {
			f.options.Log.Info("Freshness is proved again")
		}
		return false
	}
	if !failing {
		f.options.Log.Error(err, "Freshness can't be proved: reconnecting", "freshAsOf", f.FreshAsOf())
	}
	f.dialer.CloseAll()
	return true
}

// proveOnce proves the freshness of all three streams.
func (f *Feed) proveOnce(ctx context.Context) error {
	if err := listInto(ctx, f, "tenants", &keysv1alpha1.TenantList{}, tenants, f.tenants); err != nil {
		return err
	}
	if err := listInto(ctx, f, "accesspolicies", &keysv1alpha1.AccessPolicyList{}, policies, f.policies); err != nil {
		return err
	}
	return f.prober.send(ctx)
}

func pause(ctx context.Context, length time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
}
