// Package tenant keeps a Tenant's quota ledger true and says whether the tenant's keys can work.
//
// Places are taken by the apikey controller, before a key's first credential is announced. They are given back here, and
// only on what was read past the cache: an old picture in which a key is not there yet, or not any more, must not free a
// place that is taken.
package tenant

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
	"github.com/nexuscommerce/apikey-operator/internal/ledger"
	"github.com/nexuscommerce/apikey-operator/internal/tenancy"
)

// Controller reconciles Tenants.
type Controller struct {
	client client.Client
	// live reads past the cache.
	live  client.Reader
	clock clock.PassiveClock
}

// NewController returns a controller that is ready to reconcile.
func NewController(c client.Client, live client.Reader, clk clock.PassiveClock) *Controller {
	return &Controller{client: c, live: live, clock: clk}
}

// Register adds the controller to a manager.
func (c *Controller) Register(m manager.Manager) error {
	return builder.ControllerManagedBy(m).
		Named("tenant").
		For(&keysv1alpha1.Tenant{}).
		Watches(&keysv1alpha1.Tenant{}, handler.EnqueueRequestsFromMapFunc(c.othersWithID)).
		Watches(&keysv1alpha1.ApiKey{}, handler.EnqueueRequestsFromMapFunc(c.holders), builder.WithPredicates(mayFreePlace())).
		Complete(reconcile.AsReconciler(m.GetClient(), c))
}

// Reconcile brings one tenant's status up to date.
func (c *Controller) Reconcile(ctx context.Context, tenant *keysv1alpha1.Tenant) (reconcile.Result, error) {
	if tenant.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	tenants := &keysv1alpha1.TenantList{}
	if err := c.client.List(ctx, tenants, client.UnsafeDisableDeepCopy); err != nil { // They are only read.
		return reconcile.Result{}, fmt.Errorf("listing tenants: %w", err)
	}
	stored := tenant.DeepCopy()
	if err := c.release(ctx, tenant); err != nil {
		return reconcile.Result{}, err
	}
	c.judge(tenant, tenants.Items)
	tenant.Status.ObservedGeneration = tenant.Generation
	if equality.Semantic.DeepEqual(stored.Status, tenant.Status) {
		return reconcile.Result{}, nil
	}
	// Update carries the resourceVersion that was read: a place that was taken meanwhile is not lost.
	err := c.client.Status().Update(ctx, tenant)
	if apierrors.IsConflict(err) {
		return reconcile.Result{}, nil // The change that was in the way comes on the watch.
	}
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("writing the tenant's status: %w", err)
	}
	return reconcile.Result{}, nil
}

// release gives back the places of keys that are gone or done.
func (c *Controller) release(ctx context.Context, tenant *keysv1alpha1.Tenant) error {
	var failed error
	ledger.Release(tenant, func(place keysv1alpha1.ActiveKey) bool {
		if failed != nil {
			return false
		}
		done, err := c.done(ctx, tenant, place)
		if err != nil {
			failed = err
		}
		return done
	})
	return failed
}

func (c *Controller) done(ctx context.Context, tenant *keysv1alpha1.Tenant, place keysv1alpha1.ActiveKey) (bool, error) {
	name := types.NamespacedName{Namespace: place.Namespace, Name: place.Name}
	key := &keysv1alpha1.ApiKey{}
	switch err := c.client.Get(ctx, name, key, client.UnsafeDisableDeepCopy); {
	case err != nil:
	case string(key.UID) == place.UID && keystate.Revoked(key):
		return true, nil // For good, however old what the cache says is.
	case !finished(key, place.UID) && !elsewhere(key, tenant):
		return false, nil // What the cache says is old, but nobody takes a place that is not given back.
	}
	key = &keysv1alpha1.ApiKey{}
	err := c.live.Get(ctx, name, key)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the key %s, which holds a place: %w", name, err)
	}
	return finished(key, place.UID) || elsewhere(key, tenant), nil
}

// finished says that the key with a UID is not active, and will not be by itself.
func finished(key *keysv1alpha1.ApiKey, uid string) bool {
	return string(key.UID) != uid || keystate.Finished(key)
}

// elsewhere says that a key was issued to another tenant, with which it stays. It took a place here when its namespace was
// this tenant's, or looked so, and was overtaken by the namespace's move.
func elsewhere(key *keysv1alpha1.ApiKey, tenant *keysv1alpha1.Tenant) bool {
	return key.Status.TenantID != "" && !strings.EqualFold(key.Status.TenantID, tenant.Spec.ID)
}

// judge sets Ready, Suspended and Stalled. It is pure but for the clock. A tenant that is suspended, as asked, has no Ready:
// kstatus would wait for it to be True.
func (c *Controller) judge(tenant *keysv1alpha1.Tenant, tenants []keysv1alpha1.Tenant) {
	verdict := metav1.Condition{
		ObservedGeneration: tenant.Generation,
		LastTransitionTime: metav1.NewTime(c.clock.Now()),
	}
	_, err := tenancy.Selector(tenant)
	holder := tenancy.HolderOf(tenant.Spec.ID, tenants)
	var says string
	switch {
	case err != nil:
		verdict.Reason, verdict.Message = keysv1alpha1.ReasonInvalidSelector, err.Error()
		says = keysv1alpha1.ConditionStalled
	case holder != nil && holder.UID != tenant.UID:
		verdict.Reason = keysv1alpha1.ReasonDuplicateID
		verdict.Message = fmt.Sprintf("The older tenant %s has the same id: delete one of them.", holder.Name)
		says = keysv1alpha1.ConditionStalled
	case keystate.TenantSuspended(tenant):
		verdict.Reason, verdict.Message = keysv1alpha1.ReasonSuspended, "The tenant is suspended: its keys are refused until spec.state is Active."
		says = keysv1alpha1.ConditionSuspended
	default:
		verdict.Reason, verdict.Message = keysv1alpha1.ReasonActive, "The tenant's keys can work."
		says = keysv1alpha1.ConditionReady
	}
	status := map[string]metav1.ConditionStatus{says: metav1.ConditionTrue}
	if says == keysv1alpha1.ConditionStalled {
		status[keysv1alpha1.ConditionReady] = metav1.ConditionFalse
	}
	for _, verdict.Type = range []string{keysv1alpha1.ConditionReady, keysv1alpha1.ConditionSuspended, keysv1alpha1.ConditionStalled} {
		if verdict.Status = status[verdict.Type]; verdict.Status != "" {
			apimeta.SetStatusCondition(&tenant.Status.Conditions, verdict)
		} else {
			apimeta.RemoveStatusCondition(&tenant.Status.Conditions, verdict.Type)
		}
	}
}
