// Package apikey takes an ApiKey from what is asked for to a token in a Secret, and to its end.
//
// Every reconcile runs the same steps on what it finds, and each step does what is still missing, so a round can be cut
// off after any write and repeated:
//
//	revoke ─ expire ─ admit ─ reserve ─ announce ─ publish ─ suspend
//	                            │          │          │         └ status: Ready      (one patch at the end)
//	                            │          │          └ Secret: the token
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

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	// Recorder records events.
	Recorder events.EventRecorder
	Clock    clock.PassiveClock
	// Namespace is where root keys are kept.
	Namespace string
	// Formats are the beginnings of tokens, by environment.
	Formats Formats
}

// Controller reconciles ApiKeys.
type Controller struct {
	client   client.Client
	recorder events.EventRecorder
	clock    clock.PassiveClock
	steps    []step
}

// NewController returns a controller that is ready to reconcile.
func NewController(o Options) *Controller {
	secrets := &secrets{client: o.Client, live: o.Live}
	roots := &roots{client: o.Client, live: o.Live, namespace: o.Namespace, random: rand.Reader}
	return &Controller{
		client:   o.Client,
		recorder: o.Recorder,
		clock:    o.Clock,
		steps: []step{
			&revoke{secrets: secrets},
			expire{},
			&admit{client: o.Client},
			&reserve{client: o.Client, live: o.Live},
			&announce{roots: roots, formats: o.Formats, random: rand.Reader},
			&publish{secrets: secrets, roots: roots},
			suspend{},
		},
	}
}

// Reconcile brings one key a step nearer to what its spec asks for.
func (c *Controller) Reconcile(ctx context.Context, key *keysv1alpha1.ApiKey) (reconcile.Result, error) {
	if key.DeletionTimestamp != nil || isCanary(key) {
		return reconcile.Result{}, nil
	}
	stored := key.DeepCopy()
	r := &round{key: key, now: metav1.NewTime(c.clock.Now().UTC().Truncate(time.Second))}
	r.save = func(ctx context.Context) error {
		if err := c.patch(ctx, stored, r.key); err != nil {
			return err
		}
		stored = r.key.DeepCopy()
		return nil
	}
	before := readyReason(key)
	outcome, err := c.run(ctx, r)
	if err == nil {
		r.conclude(outcome)
		err = r.save(ctx)
	}
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		// Somebody else was there first. What they wrote will be seen in a moment.
		log.FromContext(ctx).V(1).Info("Overtaken, trying again", "conflict", err.Error())
		return reconcile.Result{RequeueAfter: retryAfter}, nil
	}
	if err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	c.report(ctx, key, before, outcome)
	return reconcile.Result{RequeueAfter: soonest(outcome.after, untilExpiry(r))}, nil
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

// report says in an event and in the log that Ready has changed, under the condition's own reason.
func (c *Controller) report(ctx context.Context, key *keysv1alpha1.ApiKey, before string, o *outcome) {
	if o.reason == before {
		return
	}
	log.FromContext(ctx).Info("Key changed", "ready", o.ready, "reason", o.reason)
	eventType := corev1.EventTypeNormal
	if o.stalled {
		eventType = corev1.EventTypeWarning
	}
	c.recorder.Eventf(key, nil, eventType, o.reason, "Reconcile", "%s", o.message)
}

func readyReason(key *keysv1alpha1.ApiKey) string {
	if ready := apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionReady); ready != nil {
		return ready.Reason
	}
	return ""
}

// untilExpiry is how long until the key's expiry has to be recorded; zero is never.
func untilExpiry(r *round) time.Duration {
	expires := r.key.Status.ExpiresTime
	if expires == nil || r.is(keysv1alpha1.ConditionExpired) || r.is(keysv1alpha1.ConditionRevoked) {
		return 0
	}
	// A round's time is cut to whole seconds: one more, and the next round is certain to see it passed.
	return max(expires.Sub(r.now.Time), 0) + time.Second
}

func soonest(a, b time.Duration) time.Duration {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

func isCanary(key *keysv1alpha1.ApiKey) bool {
	_, ok := key.Labels[keysv1alpha1.CanaryLabel]
	return ok
}
