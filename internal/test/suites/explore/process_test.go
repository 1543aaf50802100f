package explore_test

import (
	"context"
	"iter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/credentials"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/keycache"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/keycache/keycachetest"
	"github.com/nexuscommerce/apikey-operator/controllers/tenant"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// process is one start of the controller's binary, with everything that it keeps in memory.
type process struct {
	keys    *apikey.Controller
	tenants *tenant.Controller
}

func (r *run) newProcess() *process {
	c := &stoppable{Client: r.testbed.cp.Client, run: r}
	l := &live{Reader: r.testbed.cp.Client, namespace: r.namespace}
	found := &finder{run: r}
	return &process{
		tenants: tenant.NewController(c, l, r.clock),
		keys: apikey.NewController(apikey.Options{
			Client:         c,
			Live:           l,
			Roots:          l,
			Metadata:       found,
			Keys:           found,
			Tenants:        found,
			Recorder:       r.events,
			Clock:          r.clock,
			Namespace:      r.system,
			Formats:        credentials.Formats{keysv1alpha1.EnvironmentLive: token.FormatLive},
			ExpiryWarnings: []time.Duration{24 * time.Hour},
		}),
	}
}

// finder finds keys, tenants and Secrets in a task's cache, by the indexes and stubs of production code.
type finder struct{ run *run }

func (f *finder) keys(ctx context.Context) *keycache.Keys {
	return keycachetest.Keys(f.run.seenBy(taskOf(ctx)).keys)
}

// Claimants implements apikey.Keys.
func (f *finder) Claimants(ctx context.Context, digest string) ([]keysv1alpha1.ApiKey, error) {
	return f.keys(ctx).Claimants(ctx, digest)
}

// New implements apikey.Keys.
func (f *finder) New(ctx context.Context, namespace string) ([]*keysv1alpha1.ApiKey, error) {
	return f.keys(ctx).New(ctx, namespace)
}

// Waiting implements apikey.Keys.
func (f *finder) Waiting(ctx context.Context, namespace string) []*keysv1alpha1.ApiKey {
	return f.keys(ctx).Waiting(ctx, namespace)
}

// WaitingNamespaces implements apikey.Keys.
func (f *finder) WaitingNamespaces(ctx context.Context) []string {
	return f.keys(ctx).WaitingNamespaces(ctx)
}

// For implements admission.Tenants.
func (f *finder) For(ctx context.Context, namespace map[string]string) ([]keysv1alpha1.Tenant, error) {
	return keycachetest.Tenants(f.run.seenBy(taskOf(ctx)).tenants).For(ctx, namespace)
}

// Get implements publication.Getter.
func (f *finder) Get(ctx context.Context, name client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	seen := f.run.seenBy(taskOf(ctx)).secrets
	secrets := make([]metav1.PartialObjectMetadata, len(seen))
	for i := range seen {
		secrets[i].ObjectMeta = seen[i].ObjectMeta
	}
	return keycachetest.Secrets(secrets).Get(ctx, name, into, opts...)
}

// target is the object of a reconciliation.
type target struct {
	kind kind
	name string
}

// task is one reconciliation: a coroutine that stops at every write.
type task struct {
	process *process
	// seen is the state that its cached reads return; nil is the latest.
	seen *state

	next  func() (*write, bool)
	stop  func()
	yield func(*write) bool
	// pending is the write at which it is stopped.
	pending *write

	result reconcile.Result
	err    error
	// cut is set if the task never reached its end.
	cut bool
}

// stopped is the value with which a task panics when it is stopped.
type stopped struct{}

type taskKey struct{}

func taskOf(ctx context.Context) *task { return ctx.Value(taskKey{}).(*task) }

// begin starts a process's reconciliation of a target as its cache shows it. It returns nil if the cache does not show
// it.
func (r *run) begin(p *process, of target, seen *state) *task {
	t := &task{process: p, seen: seen, cut: true}
	ctx := context.WithValue(r.ctx, taskKey{}, t)
	body := func() (reconcile.Result, error) {
		tenant := r.seenBy(t).tenant(of.name)
		return p.tenants.Reconcile(ctx, tenant.DeepCopy())
	}
	there := r.seenBy(t).tenant(of.name) != nil
	if of.kind == canaryKind {
		canary := r.canary()
		body = func() (reconcile.Result, error) { return p.keys.Reconcile(ctx, canary) }
		there = canary != nil
	}
	if of.kind == keyKind {
		body = func() (reconcile.Result, error) {
			key := r.seenBy(t).key(of.name)
			return p.keys.Reconcile(ctx, key.DeepCopy())
		}
		there = r.seenBy(t).key(of.name) != nil
	}
	if !there {
		return nil
	}
	t.next, t.stop = iter.Pull(func(yield func(*write) bool) {
		defer func() {
			if e := recover(); e != nil && e != (stopped{}) {
				panic(e)
			}
		}()
		t.yield = yield
		t.result, t.err = body()
		t.cut = false
	})
	r.tasks = append(r.tasks, t)
	return t
}
