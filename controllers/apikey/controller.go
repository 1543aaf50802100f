// Package apikey brings an ApiKey from what its spec asks for to a token in a Secret, and to its end.
//
// A reconciliation runs the steps below in order. Each does what is still missing, so a reconciliation can be cut off
// after any write and repeated:
//
//	usage ─ Revoke ─ Expire ─ Admit ┬ Reserve ─ Announce ─ Rotate ─ Wait ─ Publish ─ Supersede ─ Schedule ─ suspend
//	                                └ Keep, if it is refused
//
//	Reserve   writes the tenant's status: a place in the quota
//	Announce  writes the key's status: id and digest, which verifiers learn before the token can be read
//	Rotate    writes the key's status: another id and digest, when it is time
//	Wait      waits until every live verifier has applied the announcement
//	Publish   writes the Secret: the token
//	Keep      writes the Secret: the token that was published before
//	(end)     writes the key's status: Ready and everything that the steps have found out
//
// The steps are in packages of their own, by concern. Each package imports those before it in this list at most, and
// none of them imports this package:
//
//	lifecycle    what steps are given and return
//	usage        what verifiers have written that cannot be true
//	rollout      what verifiers have applied
//	rootkeys     what tokens are derived from
//	publication  the Secret
//	admission    whether a key may have what it asks for
//	quota        the tenant's ledger
//	credentials  ids and digests, their rotation and expiry
//	revocation   the end
//	keycache     what is kept in memory of keys, tenants and Secrets
//
// Steps change status in memory. It is stored by one patch at the end, and before that only where a step says so
// (Save), because something else must not happen before it. Every write carries the resourceVersion that was read, or
// is a Create, so two controllers never overwrite one another.
package apikey

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/admission"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/credentials"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/publication"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/quota"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/revocation"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/rollout"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/rootkeys"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/usage"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/status"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// Options are what a Controller needs. All of them are required, except that Served and ExpiryWarnings may be empty.
type Options struct {
	// Client writes, and reads from the cache.
	Client client.Client
	// Live reads past the cache.
	Live client.Reader
	// Roots reads root keys from a cache that watches them.
	Roots client.Reader
	// Metadata reads the metadata of the controller's Secrets from the cache.
	Metadata publication.Getter
	// Keys and Tenants find keys and tenants in the cache.
	Keys    Keys
	Tenants admission.Tenants
	// Recorder records events.
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	// Namespace is where root keys are kept.
	Namespace string
	// Served are the namespaces in which the controller may keep Secrets. None means all.
	Served publication.Namespaces
	// Formats are the beginnings of tokens, by environment.
	Formats credentials.Formats
	// ExpiryWarnings are how long before its expiry to warn of it.
	ExpiryWarnings []time.Duration
}

// Keys finds keys in the cache.
type Keys interface {
	admission.Keys
	quota.Keys
}

// Controller reconciles ApiKeys.
type Controller struct {
	client    client.Client
	recorder  events.EventRecorder
	clock     clock.PassiveClock
	verifiers *rollout.Verifiers

	// decide ends with the decision about what the key asks for; one of the other two follows from it.
	decide, admitted, refused []lifecycle.Step
}

// NewController returns a controller that is ready to reconcile.
func NewController(o Options) *Controller {
	verifiers := rollout.NewVerifiers(o.Client, o.Live, o.Namespace, o.Clock)
	secrets := publication.NewStore(o.Client, o.Live, o.Metadata, o.Served)
	roots := rootkeys.New(o.Client, o.Roots, o.Live, o.Namespace)
	mint := credentials.NewMint(roots, o.Formats)
	gatherer := &admission.Gatherer{Client: o.Client, Tenants: o.Tenants, Keys: o.Keys, Serves: o.Served.Serves}
	return &Controller{
		client:    o.Client,
		recorder:  o.Recorder,
		clock:     o.Clock,
		verifiers: verifiers,
		decide: []lifecycle.Step{
			usage.Correction{},
			&revocation.Revoke{Secrets: secrets, Verifiers: verifiers},
			credentials.Expire{},
			&admission.Admit{Gatherer: gatherer, Announcements: verifiers},
		},
		admitted: []lifecycle.Step{
			quota.NewReserve(o.Client, o.Live, o.Clock, gatherer.Candidates, &quota.Queue{Client: o.Client, Keys: o.Keys}),
			&credentials.Announce{Mint: mint},
			credentials.NewRotate(mint, o.Clock, publication.CheckTemplates),
			&rollout.Wait{Verifiers: verifiers},
			publication.NewPublish(secrets, roots),
			credentials.Supersede{},
			&credentials.Schedule{Warnings: o.ExpiryWarnings},
			suspend{},
		},
		refused: []lifecycle.Step{
			publication.NewKeep(secrets, roots),
		},
	}
}

// Reconcile brings one key a step nearer to what its spec asks for.
func (c *Controller) Reconcile(ctx context.Context, key *keysv1alpha1.ApiKey) (reconcile.Result, error) {
	if key.DeletionTimestamp != nil {
		c.verifiers.Forget(client.ObjectKeyFromObject(key))
		return reconcile.Result{}, nil
	}
	if keystate.IsCanary(key) {
		return status.Retry(ctx, c.tend(ctx, key))
	}
	before := key.Status.DeepCopy()
	r := lifecycle.New(key, c.clock.Now(), c.saver(key))
	result, err := c.run(ctx, r)
	if err != nil {
		return status.Retry(ctx, err)
	}
	if result.Deferred {
		return reconcile.Result{RequeueAfter: result.RequeueAfter}, nil
	}
	r.Conditions().Conclude(result.Outcome)
	if err := r.Save(ctx); err != nil {
		return status.Retry(ctx, err)
	}
	c.report(ctx, key, before, result.Outcome)
	return reconcile.Result{RequeueAfter: lifecycle.Soonest(result.RequeueAfter, untilExpired(r))}, nil
}

// run runs the steps. Its result has an outcome, or is deferred.
func (c *Controller) run(ctx context.Context, r *lifecycle.Reconciliation) (lifecycle.Result, error) {
	result, err := runSteps(ctx, r, c.decide)
	if err != nil || result.Ends() {
		return result, err
	}
	next, otherwise := c.admitted, status.Ready(keysv1alpha1.ReasonReady, "The key works.")
	if refusal := r.Admission.Refusal; refusal != nil {
		next, otherwise = c.refused, refusal
	}
	after, err := runSteps(ctx, r, next)
	after.RequeueAfter = lifecycle.Soonest(result.RequeueAfter, after.RequeueAfter)
	if after.Outcome == nil {
		after.Outcome = otherwise
	}
	return after, err
}

// runSteps runs steps until one of them ends the reconciliation.
func runSteps(ctx context.Context, r *lifecycle.Reconciliation, steps []lifecycle.Step) (lifecycle.Result, error) {
	var soonest time.Duration
	for _, step := range steps {
		result, err := step.Reconcile(ctx, r)
		if err != nil {
			return lifecycle.Result{}, err
		}
		soonest = lifecycle.Soonest(soonest, result.RequeueAfter)
		if result.Ends() {
			result.RequeueAfter = soonest
			return result, nil
		}
	}
	return lifecycle.Result{RequeueAfter: soonest}, nil
}

// untilExpired returns the RequeueAfter for the key's expiry.
func untilExpired(r *lifecycle.Reconciliation) time.Duration {
	expires, conditions := r.Key.Status.ExpiresTime, r.Conditions()
	ended := conditions.IsTrue(keysv1alpha1.ConditionExpired) || conditions.IsTrue(keysv1alpha1.ConditionRevoked)
	if expires == nil || ended {
		return 0
	}
	return r.Until(expires.Time)
}

// saver returns a function that stores what has changed in the key's status since it was last called.
func (c *Controller) saver(key *keysv1alpha1.ApiKey) func(context.Context) error {
	stored := key.DeepCopy()
	return func(ctx context.Context) error {
		written, err := status.Patch(ctx, c.client, stored, key)
		if err != nil {
			return fmt.Errorf("writing the key's status: %w", err)
		}
		if written {
			stored = key.DeepCopy()
		}
		return nil
	}
}

// tend keeps the verifiers' canary. In its status, the controller writes only that it has seen the canary, so that
// whatever waits for a whole installation to be current (kstatus) does not wait for the canary forever.
func (c *Controller) tend(ctx context.Context, canary *keysv1alpha1.ApiKey) error {
	save := c.saver(canary)
	canary.Status.ObservedGeneration = canary.Generation
	if err := save(ctx); err != nil {
		return err
	}
	return c.verifiers.Tend(ctx, canary)
}
