package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey"
)

// trace is what the cache keeps of a Secret: whose it is, and in which version. It takes 80 bytes, where metadata with an owner
// takes 368. Nobody changes it.
type trace struct {
	*metav1.ObjectMeta // What has not been kept: nothing, for all of them.

	namespace, name, resourceVersion string
	// owner is the name of the ApiKey that the Secret belongs to; blank where it belongs to none.
	owner string
}

// nothing is what all traces have of what they don't keep.
var nothing = &metav1.ObjectMeta{}

// traceOf keeps of a Secret's metadata what the controller reads of it.
func traceOf(secret *metav1.PartialObjectMetadata) *trace {
	t := &trace{ObjectMeta: nothing, namespace: secret.Namespace, name: secret.Name, resourceVersion: secret.ResourceVersion}
	if owner := apikey.OwnerOf(secret); owner != nil {
		t.owner = owner.Name
	}
	if t.owner == t.name {
		t.owner = t.name // One text for both, which they mostly are.
	}
	return t
}

// GetNamespace implements metav1.Object.
func (t *trace) GetNamespace() string { return t.namespace }

// GetName implements metav1.Object.
func (t *trace) GetName() string { return t.name }

// GetResourceVersion implements metav1.Object.
func (t *trace) GetResourceVersion() string { return t.resourceVersion }

// GetOwnerReferences implements metav1.Object.
func (t *trace) GetOwnerReferences() []metav1.OwnerReference {
	if t.owner == "" {
		return nil
	}
	return []metav1.OwnerReference{{APIVersion: keysv1alpha1.GroupVersion.String(), Kind: "ApiKey", Name: t.owner, Controller: &controls}}
}

// controls is what OwnerReference.Controller points to.
var controls = true

// GetObjectMeta implements metav1.ObjectMetaAccessor.
func (t *trace) GetObjectMeta() metav1.Object { return t }

// GetObjectKind implements runtime.Object.
func (*trace) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object.
func (t *trace) DeepCopyObject() runtime.Object {
	copied := *t
	return &copied
}

// traces reads Secrets' metadata from a cache that keeps traces of them.
type traces struct {
	store toolscache.Store
}

// newTraces has a cache keep traces, before it is started. The cache must be one of all namespaces.
func newTraces(ctx context.Context, informers cache.Informers) (*traces, error) {
	secrets := &metav1.PartialObjectMetadata{}
	secrets.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	informer, err := informers.GetInformer(ctx, secrets, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("watching Secrets: %w", err)
	}
	shared, ok := informer.(toolscache.SharedInformer)
	if !ok {
		return nil, fmt.Errorf("the cache's informer is a %T, which shows nothing of what it keeps", informer)
	}
	return &traces{store: shared.GetStore()}, nil
}

// Get implements apikey.Getter.
func (t *traces) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	object, _, err := t.store.GetByKey(name.String())
	if err != nil {
		return err
	}
	kept, ok := object.(*trace)
	if !ok {
		return apierrors.NewNotFound(corev1.Resource("secrets"), name.Name)
	}
	into.SetNamespace(kept.namespace)
	into.SetName(kept.name)
	into.SetResourceVersion(kept.resourceVersion)
	into.SetOwnerReferences(kept.GetOwnerReferences())
	return nil
}
