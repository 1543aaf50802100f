package apikey

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/admission"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/keycache"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/quota"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/rollout"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/usage"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
	"github.com/nexuscommerce/apikey-operator/internal/tenancy"
)

// concurrency is how many keys are reconciled at a time. A reconciliation mostly waits for the API server.
const concurrency = 10

// watches find the keys to reconcile when something that they depend on changes.
type watches struct {
	client    client.Reader
	cached    *keycache.Keys
	queue     *quota.Queue
	verifiers *rollout.Verifiers
}

func newWatches(c client.Reader, keys *keycache.Keys, verifiers *rollout.Verifiers) *watches {
	return &watches{client: c, cached: keys, queue: &quota.Queue{Client: c, Keys: keys}, verifiers: verifiers}
}

// Register adds the controller to a manager, with watches of everything that a key depends on. The keys are those of
// the manager's cache.
func (c *Controller) Register(m manager.Manager, keys *keycache.Keys) error {
	w := newWatches(m.GetClient(), keys, c.verifiers)
	changes, passes := handler.EnqueueRequestsFromMapFunc, builder.WithPredicates
	newLabels, newSpec := predicate.LabelChangedPredicate{}, predicate.GenerationChangedPredicate{}
	return builder.ControllerManagedBy(m).
		Named("apikey").
		For(&keysv1alpha1.ApiKey{}, passes(predicate.Not(isCanary()), notOnlyUsage(c.clock))).
		Watches(&keysv1alpha1.ApiKey{}, changes(w.keysAwaitingVerifiers), passes(isCanary())).
		Watches(&keysv1alpha1.ApiKey{}, changes(w.rivals), passes(claimsChanged())).
		Watches(&keysv1alpha1.ApiKey{}, changes(w.keysWaitingBeside), passes(leftWaiting())).
		WatchesMetadata(&corev1.Secret{}, changes(keyOfSecret), passes(notInitial())).
		Watches(&corev1.Namespace{}, changes(w.keysOfNamespace), passes(notInitial(), newLabels)).
		Watches(&keysv1alpha1.Tenant{}, changes(w.keysOfTenant), passes(notInitial(), newSpec)).
		Watches(&keysv1alpha1.Tenant{}, changes(w.keysWaitingForPlace), passes(placeFreed())).
		Watches(&keysv1alpha1.AccessPolicy{}, changes(w.keysOfScopes), passes(notInitial(), newSpec)).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency}).
		Complete(reconcile.AsReconciler(m.GetClient(), c))
}

// keyOfSecret returns the key that a Secret belongs to. Unlike controller-runtime's handler for owners, it does not ask
// a RESTMapper.
func keyOfSecret(_ context.Context, secret client.Object) []reconcile.Request {
	owner := keycache.OwnerOf(secret)
	if owner == nil {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: secret.GetNamespace(), Name: owner.Name}}}
}

// notInitial leaves out what is there when the controller starts: each key is reconciled then anyway.
func notInitial() predicate.Predicate {
	return predicate.Funcs{CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList }}
}

// isCanary passes the events of the verifiers' canary.
func isCanary() predicate.Predicate {
	return predicate.NewPredicateFuncs(func(object client.Object) bool {
		key, ok := object.(*keysv1alpha1.ApiKey)
		return ok && keystate.IsCanary(key)
	})
}

// notOnlyUsage leaves out the verifiers' own writes, which change nothing here, unless they have to be corrected.
func notOnlyUsage(now clock.PassiveClock) predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*keysv1alpha1.ApiKey)
		after, isKey := e.ObjectNew.(*keysv1alpha1.ApiKey)
		if !ok || !isKey {
			return true
		}
		return usage.Ahead(after, now.Now()) || !equality.Semantic.DeepEqual(withoutUsage(before), withoutUsage(after))
	}}
}

func withoutUsage(key *keysv1alpha1.ApiKey) *keysv1alpha1.ApiKey {
	stripped := *key
	stripped.ResourceVersion, stripped.ManagedFields = "", nil
	stripped.Status.Usage, stripped.Status.LastUsedTime = nil, nil
	return &stripped
}

// placeFreed passes when a tenant may have room for a key that it had none for. A new maxKeys gives new places too:
// that changes the generation, which makes all the tenant's keys be reconciled.
func placeFreed() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*keysv1alpha1.Tenant)
			after, isTenant := e.ObjectNew.(*keysv1alpha1.Tenant)
			return ok && isTenant && len(after.Status.ActiveKeys) < len(before.Status.ActiveKeys)
		},
	}
}

// keysOfNamespace returns the keys of a namespace.
func (w *watches) keysOfNamespace(ctx context.Context, namespace client.Object) []reconcile.Request {
	return w.keys(ctx, all, client.InNamespace(namespace.GetName()))
}

// keysOfTenant returns the keys that were issued to a Tenant, as it was before a change or is after it, and those in
// the namespaces that it selects. The keys of tenants with the same id depend on it too.
func (w *watches) keysOfTenant(ctx context.Context, object client.Object) []reconcile.Request {
	changed, ok := object.(*keysv1alpha1.Tenant)
	if !ok {
		return nil
	}
	tenants := &keysv1alpha1.TenantList{}
	namespaces := &corev1.NamespaceList{}
	for _, list := range []client.ObjectList{tenants, namespaces} {
		if err := w.client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return nil // The cache has stopped, and so will the controller.
		}
	}
	alike := []keysv1alpha1.Tenant{*changed}
	for i := range tenants.Items {
		if strings.EqualFold(tenants.Items[i].Spec.ID, changed.Spec.ID) {
			alike = append(alike, tenants.Items[i])
		}
	}
	for i := range alike {
		alike[i].DeletionTimestamp = nil // What it selected until now counts.
	}
	requests := requestsFor(w.cached.IssuedTo(changed.Spec.ID), all)
	for i := range namespaces.Items {
		if len(tenancy.Of(namespaces.Items[i].Labels, alike)) > 0 {
			requests = append(requests, w.keysOfNamespace(ctx, &namespaces.Items[i])...)
		}
	}
	return requests
}

// keysOfScopes returns, for a changed AccessPolicy, the keys whose scopes are now declared and were not, or the
// reverse.
func (w *watches) keysOfScopes(ctx context.Context, _ client.Object) []reconcile.Request {
	policies := &keysv1alpha1.AccessPolicyList{}
	if err := w.client.List(ctx, policies, client.UnsafeDisableDeepCopy); err != nil {
		return w.keys(ctx, all)
	}
	catalogue := access.NewCatalogue(policies.Items)
	return w.keys(ctx, func(key *keysv1alpha1.ApiKey) bool {
		admitted := apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionAdmitted)
		unknown := admitted != nil && admitted.Reason == keysv1alpha1.ReasonUnknownScope
		// A key that is refused for a scope is always reconciled: the hint in its message may have changed.
		return unknown || admission.ScopesDeclared(admission.Input{Key: key, Catalogue: catalogue}, nil) != nil
	})
}

// keysAwaitingVerifiers returns, when a verifier has written to the canary, the keys that have waited for it; and the
// canary itself if there is something to tend, or if its status does not say yet that it was seen.
func (w *watches) keysAwaitingVerifiers(_ context.Context, object client.Object) []reconcile.Request {
	canary, ok := object.(*keysv1alpha1.ApiKey)
	if !ok {
		return nil
	}
	names, untended := w.verifiers.Observe(canary)
	if untended || canary.Status.ObservedGeneration != canary.Generation {
		names = append(names, client.ObjectKeyFromObject(canary))
	}
	requests := make([]reconcile.Request, len(names))
	for i := range names {
		requests[i].NamespacedName = names[i]
	}
	return requests
}

func all(*keysv1alpha1.ApiKey) bool { return true }

// keys returns requests for the keys that are wanted. The function must not change them: they are the cache's own.
func (w *watches) keys(
	ctx context.Context, wanted func(*keysv1alpha1.ApiKey) bool, options ...client.ListOption,
) []reconcile.Request {
	list := &keysv1alpha1.ApiKeyList{}
	if err := w.client.List(ctx, list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil // The cache has stopped, and so will the controller.
	}
	keys := make([]*keysv1alpha1.ApiKey, len(list.Items))
	for i := range list.Items {
		keys[i] = &list.Items[i]
	}
	return requestsFor(keys, wanted)
}

func requestsFor(keys []*keysv1alpha1.ApiKey, wanted func(*keysv1alpha1.ApiKey) bool) []reconcile.Request {
	var requests []reconcile.Request
	for _, key := range keys {
		if wanted(key) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(key)})
		}
	}
	return requests
}
