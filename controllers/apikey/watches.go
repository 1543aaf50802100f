package apikey

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/tenancy"
)

// concurrency is how many keys are reconciled at a time. A round mostly waits for the API server.
const concurrency = 10

// Register adds the controller to a manager, with everything that a key depends on.
func (c *Controller) Register(m manager.Manager) error {
	return builder.ControllerManagedBy(m).
		Named("apikey").
		For(&keysv1alpha1.ApiKey{}, builder.WithPredicates(predicate.Not(canary()), notOnlyUsage(c.clock))).
		Watches(&keysv1alpha1.ApiKey{}, handler.EnqueueRequestsFromMapFunc(c.keysAwaitingVerifiers), builder.WithPredicates(canary())).
		Watches(&keysv1alpha1.ApiKey{}, handler.EnqueueRequestsFromMapFunc(c.rivals), builder.WithPredicates(claimsChanged())).
		Watches(&keysv1alpha1.ApiKey{}, handler.EnqueueRequestsFromMapFunc(c.keysWaitingBeside), builder.WithPredicates(leftWaiting())).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(keyOfSecret), builder.WithPredicates(notInitial())).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(c.keysOfNamespace), builder.WithPredicates(notInitial(), predicate.LabelChangedPredicate{})).
		Watches(&keysv1alpha1.Tenant{}, handler.EnqueueRequestsFromMapFunc(c.keysOfTenant), builder.WithPredicates(notInitial(), predicate.GenerationChangedPredicate{})).
		Watches(&keysv1alpha1.Tenant{}, handler.EnqueueRequestsFromMapFunc(c.keysWaitingForPlace), builder.WithPredicates(placeFreed())).
		Watches(&keysv1alpha1.AccessPolicy{}, handler.EnqueueRequestsFromMapFunc(c.keysJudgedOtherwise), builder.WithPredicates(notInitial(), predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: concurrency}).
		Complete(reconcile.AsReconciler(m.GetClient(), c))
}

// keyOfSecret is the key that a Secret belongs to. Unlike the handler for owners, it asks no RESTMapper for each.
func keyOfSecret(_ context.Context, secret client.Object) []reconcile.Request {
	owner := OwnerOf(secret)
	if owner == nil {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: secret.GetNamespace(), Name: owner.Name}}}
}

// OwnerOf returns the reference to the ApiKey that an object belongs to, or nil. Nobody may change it.
func OwnerOf(object metav1.Object) *metav1.OwnerReference {
	owner := metav1.GetControllerOfNoCopy(object)
	if owner == nil || owner.Kind != "ApiKey" || !strings.HasPrefix(owner.APIVersion, keysv1alpha1.GroupName+"/") {
		return nil
	}
	return owner
}

// notInitial leaves out what is there when the controller starts: each key is looked at then in any case.
func notInitial() predicate.Predicate {
	return predicate.Funcs{CreateFunc: func(e event.CreateEvent) bool { return !e.IsInInitialList }}
}

// canary passes what happens to the verifiers' canary.
func canary() predicate.Predicate {
	return predicate.NewPredicateFuncs(func(object client.Object) bool {
		key, ok := object.(*keysv1alpha1.ApiKey)
		return ok && isCanary(key)
	})
}

// notOnlyUsage leaves out the verifiers' own writes, which change nothing here, unless they have to be put right.
func notOnlyUsage(now clock.PassiveClock) predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, ok := e.ObjectOld.(*keysv1alpha1.ApiKey)
		after, isKey := e.ObjectNew.(*keysv1alpha1.ApiKey)
		if !ok || !isKey {
			return true
		}
		return UsedAhead(after, now.Now()) || !equality.Semantic.DeepEqual(withoutUsage(before), withoutUsage(after))
	}}
}

func withoutUsage(key *keysv1alpha1.ApiKey) *keysv1alpha1.ApiKey {
	stripped := *key
	stripped.ResourceVersion, stripped.ManagedFields = "", nil
	stripped.Status.Usage, stripped.Status.LastUsedTime = nil, nil
	return &stripped
}

// placeFreed passes when a tenant may have room for a key that it had none for. New places come with a new maxKeys too,
// which is a change of generation, and has all the tenant's keys looked at.
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

func (c *Controller) keysOfNamespace(ctx context.Context, namespace client.Object) []reconcile.Request {
	return c.keys(ctx, all, client.InNamespace(namespace.GetName()))
}

// keysOfTenant is for a Tenant as it was before a change or is after it: the keys that were issued to it, and those in the
// namespaces that it selects. What becomes of a tenant with the same id is up to it too.
func (c *Controller) keysOfTenant(ctx context.Context, object client.Object) []reconcile.Request {
	changed, ok := object.(*keysv1alpha1.Tenant)
	if !ok {
		return nil
	}
	tenants := &keysv1alpha1.TenantList{}
	namespaces := &corev1.NamespaceList{}
	for _, list := range []client.ObjectList{tenants, namespaces} {
		if err := c.client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
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
	requests := requestsFor(c.index.issuedTo(changed.Spec.ID), all)
	for i := range namespaces.Items {
		if len(tenancy.Of(namespaces.Items[i].Labels, alike)) > 0 {
			requests = append(requests, c.keysOfNamespace(ctx, &namespaces.Items[i])...)
		}
	}
	return requests
}

// keysJudgedOtherwise is for a changed AccessPolicy: those keys whose scopes are now declared and were not, or the reverse.
func (c *Controller) keysJudgedOtherwise(ctx context.Context, _ client.Object) []reconcile.Request {
	policies := &keysv1alpha1.AccessPolicyList{}
	if err := c.client.List(ctx, policies, client.UnsafeDisableDeepCopy); err != nil {
		return c.keys(ctx, all)
	}
	catalogue := access.NewCatalogue(policies.Items)
	return c.keys(ctx, func(key *keysv1alpha1.ApiKey) bool {
		admitted := apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionAdmitted)
		unknown := admitted != nil && admitted.Reason == keysv1alpha1.ReasonUnknownScope
		// A key that is refused for a scope stays in the queue's sight: the hint in its message may have changed.
		return unknown || scopesDeclared(facts{key: key, catalogue: catalogue}, nil) != nil
	})
}

// keysAwaitingVerifiers is for a verifier that has said something: the keys that have waited for it, and the canary where
// there is something to tidy up, or its status doesn't say yet that it was seen.
func (c *Controller) keysAwaitingVerifiers(_ context.Context, object client.Object) []reconcile.Request {
	canary, ok := object.(*keysv1alpha1.ApiKey)
	if !ok {
		return nil
	}
	names, untended := c.verifiers.observe(canary)
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

// keys returns requests for the keys that are wanted. That must not change them: they are the cache's own.
func (c *Controller) keys(ctx context.Context, wanted func(*keysv1alpha1.ApiKey) bool, options ...client.ListOption) []reconcile.Request {
	list := &keysv1alpha1.ApiKeyList{}
	if err := c.client.List(ctx, list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
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
