// Package apikey takes an ApiKey from what is asked for to a token in a Secret, and to its end.
//
// Every reconcile runs the same steps on what it finds, and each step does what is still missing, so a round can be cut
// off after any write and repeated:
//
//	revoke ─ expire ─ admit ─ reserve ─ announce ─ rotate ─ wait ─ publish ─ outlook ─ suspend
//	                            │          │          │       │       │                  └ status: Ready (one patch at the end)
//	                            │          │          │       │       └ Secret: the token
//	                            │          │          │       └ every live verifier has applied the announcement
//	                            │          │          └ status: another id and digest, when it is time
//	                            │          └ status: id and digest, which verifiers learn before the token can be read
//	                            └ Tenant status: a place in the quota
//
// Every write carries the resourceVersion that was read, or is a Create, so two controllers never overwrite one another.
package apikey

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// retryAfter is how long until a round is repeated that somebody else's write has overtaken.
const retryAfter = 100 * time.Millisecond

// Options are what a Controller needs.
type Options struct {
	// Client writes, and reads from the cache.
	Client client.Client
	// Live reads past the cache.
	Live client.Reader
	// Roots reads root keys from a cache that watches them. Without it, they are read past the cache.
	Roots client.Reader
	// Metadata reads the metadata of this controller's Secrets from the cache. Without it, each round reads the whole Secret.
	Metadata Getter
	// Recorder records events.
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	// Namespace is where root keys are kept.
	Namespace string
	// Served are the namespaces in which the controller may keep Secrets; none are all.
	Served []string
	// Formats are the beginnings of tokens, by environment.
	Formats Formats
	// ExpiryWarnings are how long before a key's end it is warned of.
	ExpiryWarnings []time.Duration
	// Claimants returns the keys that claim a digest, as Credential.Digest has it.
	Claimants func(ctx context.Context, digest string) ([]keysv1alpha1.ApiKey, error)
	// Index finds the keys that a change of something else is about, and those that wait for a place in their tenant's ledger. Without it,
	// there are no watches, and nobody knows who waits.
	Index *Index
	// Tenants returns all tenants that may select a namespace with the given labels, and all that have an id of one of those.
	// Without it, all are listed.
	Tenants func(ctx context.Context, namespace map[string]string) ([]keysv1alpha1.Tenant, error)
	// New returns the keys of a namespace of which nothing has been written yet. Without it, each takes its place alone.
	New func(ctx context.Context, namespace string) ([]*keysv1alpha1.ApiKey, error)
}

// Getter is that part of a client.Reader which reads one object.
type Getter interface {
	Get(ctx context.Context, name client.ObjectKey, into client.Object, options ...client.GetOption) error
}

// Controller reconciles ApiKeys.
type Controller struct {
	client   client.Client
	recorder events.EventRecorder
	clock    clock.PassiveClock
	// verifiers is what watches need of what the steps know.
	verifiers *verifiers
	index     *Index
	steps     []step
}

// NewController returns a controller that is ready to reconcile.
func NewController(o Options) *Controller {
	secrets := &secrets{client: o.Client, live: o.Live, served: o.Served, metadata: o.Metadata, right: map[types.UID]right{}, surveys: map[string]*survey{}}
	if o.Roots == nil {
		o.Roots = o.Live
	}
	roots := &roots{client: o.Client, watched: o.Roots, live: o.Live, namespace: o.Namespace, random: rand.Reader}
	verifiers := newVerifiers(o.Client, o.Live, o.Namespace, o.Clock)
	tenants := tenantFinder(o.Tenants)
	if tenants == nil {
		tenants = allTenants(o.Client)
	}
	announce := &announce{roots: roots, formats: o.Formats, random: rand.Reader}
	publish := &publish{secrets: secrets, roots: roots}
	return &Controller{
		client:    o.Client,
		recorder:  o.Recorder,
		clock:     o.Clock,
		verifiers: verifiers,
		index:     o.Index,
		steps: []step{
			usage{},
			&revoke{secrets: secrets, verifiers: verifiers},
			expire{},
			&admit{client: o.Client, tenants: tenants, claimants: o.Claimants, verifiers: verifiers, publish: publish},
			newReserve(o),
			announce,
			&rotate{announce: announce, turns: newTurns(o.Clock)},
			&wait{verifiers: verifiers},
			publish,
			&outlook{warnings: o.ExpiryWarnings},
			suspend{},
		},
	}
}

// Reconcile brings one key a step nearer to what its spec asks for.
func (c *Controller) Reconcile(ctx context.Context, key *keysv1alpha1.ApiKey) (reconcile.Result, error) {
	if key.DeletionTimestamp != nil {
		c.verifiers.forget(client.ObjectKeyFromObject(key))
		return reconcile.Result{}, nil
	}
	stored := key.DeepCopy()
	if isCanary(key) {
		return unwritten(ctx, c.tend(ctx, stored, key))
	}
	r := &round{key: key, new: isNew(key), now: metav1.NewTime(c.clock.Now().UTC().Truncate(time.Second))}
	r.save = func(ctx context.Context) error {
		if err := c.patch(ctx, stored, r.key); err != nil {
			return err
		}
		stored = r.key.DeepCopy()
		return nil
	}
	before := &stored.Status
	outcome, err := c.run(ctx, r)
	if err == nil && outcome.untold {
		return reconcile.Result{RequeueAfter: outcome.after}, nil
	}
	if err == nil {
		r.conclude(outcome)
		err = r.save(ctx)
	}
	if err != nil {
		return unwritten(ctx, err)
	}
	c.report(ctx, r, before, outcome)
	if expires := key.Status.ExpiresTime; expires != nil && !r.is(keysv1alpha1.ConditionExpired) && !r.is(keysv1alpha1.ConditionRevoked) {
		r.wakeAt(expires.Time)
	}
	if outcome.after != 0 {
		r.wakeAfter(outcome.after)
	}
	return reconcile.Result{RequeueAfter: r.wake}, nil
}

// tend keeps the verifiers' canary. Of its status, the controller writes that it was seen and no
// more, so that what waits for a whole installation to be current (kstatus) does not wait for the canary for ever.
func (c *Controller) tend(ctx context.Context, stored, canary *keysv1alpha1.ApiKey) error {
	canary.Status.ObservedGeneration = canary.Generation
	if err := c.patch(ctx, stored, canary); err != nil {
		return err
	}
	return c.verifiers.tend(ctx, canary)
}

// unwritten is what becomes of a round that an error has ended.
func unwritten(ctx context.Context, err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		// Somebody else was there first. What they wrote will be seen in a moment.
		log.FromContext(ctx).V(1).Info("Overtaken, trying again", "conflict", err.Error())
		return reconcile.Result{RequeueAfter: retryAfter}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(err)
}

func (c *Controller) run(ctx context.Context, r *round) (*outcome, error) {
	for _, step := range c.steps {
		outcome, err := step.run(ctx, r)
		if outcome != nil || err != nil {
			return outcome, err
		}
	}
	return works(), nil
}

// patch writes what has changed in status. It fails with a conflict if anything about the key has changed since it was
// read.
func (c *Controller) patch(ctx context.Context, stored, key *keysv1alpha1.ApiKey) error {
	if equality.Semantic.DeepEqual(stored.Status, key.Status) {
		return nil // L4: without this line, every round writes.
	}
	patch := client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{})
	if err := c.client.Status().Patch(ctx, key, patch); err != nil {
		return fmt.Errorf("writing the key's status: %w", err)
	}
	return nil
}

func isCanary(key *keysv1alpha1.ApiKey) bool {
	_, ok := key.Labels[keysv1alpha1.CanaryLabel]
	return ok
}
