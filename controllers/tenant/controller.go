// Package tenant keeps a Tenant's quota ledger true and reports in its status whether the tenant's keys can work.
//
// The apikey controller takes places, before it announces a key's first credential. This controller gives them back,
// and only after a read past the cache: an outdated cache, in which a key is missing, must not free a place that is
// taken.
package tenant

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/status"
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
	changes, passes := handler.EnqueueRequestsFromMapFunc, builder.WithPredicates
	return builder.ControllerManagedBy(m).
		Named("tenant").
		For(&keysv1alpha1.Tenant{}).
		Watches(&keysv1alpha1.Tenant{}, changes(c.othersWithID)).
		Watches(&keysv1alpha1.ApiKey{}, changes(c.holders), passes(mayFreePlace())).
		Complete(reconcile.AsReconciler(m.GetClient(), c))
}

// Reconcile brings one tenant's status up to date.
func (c *Controller) Reconcile(ctx context.Context, tenant *keysv1alpha1.Tenant) (reconcile.Result, error) {
	if tenant.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	return status.Retry(ctx, c.bringUpToDate(ctx, tenant))
}

func (c *Controller) bringUpToDate(ctx context.Context, tenant *keysv1alpha1.Tenant) error {
	tenants := &keysv1alpha1.TenantList{}
	if err := c.client.List(ctx, tenants, client.UnsafeDisableDeepCopy); err != nil { // They are only read.
		return fmt.Errorf("listing tenants: %w", err)
	}
	stored := tenant.DeepCopy()
	if err := c.release(ctx, tenant); err != nil {
		return err
	}
	conditions, observed := &tenant.Status.Conditions, &tenant.Status.ObservedGeneration
	status.Of(conditions, observed, tenant.Generation, metav1.NewTime(c.clock.Now())).
		Conclude(decide(tenant, tenants.Items))
	// The patch carries the resourceVersion that was read: a place that was taken meanwhile is not lost.
	if _, err := status.Patch(ctx, c.client, stored, tenant); err != nil {
		return fmt.Errorf("writing the tenant's status: %w", err)
	}
	return nil
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

// done reports whether a place can be given back. The cache alone never decides that, except for a revoked key.
func (c *Controller) done(
	ctx context.Context, tenant *keysv1alpha1.Tenant, place keysv1alpha1.ActiveKey,
) (bool, error) {
	name := types.NamespacedName{Namespace: place.Namespace, Name: place.Name}
	key := &keysv1alpha1.ApiKey{}
	switch err := c.client.Get(ctx, name, key, client.UnsafeDisableDeepCopy); {
	case err != nil:
	case string(key.UID) == place.UID && keystate.Revoked(key):
		return true, nil // A revoked key stays revoked, however outdated the cache is.
	case !finished(key, place.UID) && !elsewhere(key, tenant):
		return false, nil // The cache may be outdated, but keeping a place for a while longer is safe.
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

// finished reports whether the key with a UID is not active and will not become active by itself.
func finished(key *keysv1alpha1.ApiKey, uid string) bool {
	return string(key.UID) != uid || keystate.Finished(key)
}

// elsewhere reports whether a key was issued to another tenant, with which it stays. It took a place here while its
// namespace belonged to this tenant, in the cluster or in an outdated cache, and was issued after the namespace had
// moved.
func elsewhere(key *keysv1alpha1.ApiKey, tenant *keysv1alpha1.Tenant) bool {
	return key.Status.TenantID != "" && !strings.EqualFold(key.Status.TenantID, tenant.Spec.ID)
}

// decide returns the outcome for a tenant among all tenants. It is pure.
func decide(tenant *keysv1alpha1.Tenant, tenants []keysv1alpha1.Tenant) *status.Outcome {
	if _, err := tenancy.Selector(tenant); err != nil {
		return status.Stalled(keysv1alpha1.ReasonInvalidSelector, err.Error())
	}
	if holder := tenancy.HolderOf(tenant.Spec.ID, tenants); holder != nil && holder.UID != tenant.UID {
		return status.Stalled(keysv1alpha1.ReasonDuplicateID,
			fmt.Sprintf("The older tenant %s has the same id: delete one of them.", holder.Name))
	}
	if keystate.TenantSuspended(tenant) {
		return status.Requested(keysv1alpha1.ReasonSuspended,
			"The tenant is suspended: its keys are refused until spec.state is Active.")
	}
	return status.Ready(keysv1alpha1.ReasonActive, "The tenant's keys can work.")
}
