package keycache

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// stub is what the cache keeps of a Secret: its owner and its version. It takes 80 bytes; metadata with an owner takes
// 368. It is immutable.
type stub struct {
	*metav1.ObjectMeta // For the methods of metav1.Object that have nothing to return: empty, and shared by all stubs.

	namespace, name, resourceVersion string
	// owner is the name of the ApiKey that the Secret belongs to; blank if it belongs to none.
	owner string
}

// empty is the ObjectMeta that all stubs share.
var empty = &metav1.ObjectMeta{}

// StubOf returns what the cache keeps of a Secret's metadata.
func StubOf(secret *metav1.PartialObjectMetadata) runtime.Object {
	kept := &stub{
		ObjectMeta: empty,
		namespace:  secret.Namespace, name: secret.Name, resourceVersion: secret.ResourceVersion,
	}
	if owner := OwnerOf(secret); owner != nil {
		kept.owner = owner.Name
	}
	if kept.owner == kept.name {
		kept.owner = kept.name // They share the string, because they are mostly equal.
	}
	return kept
}

// GetNamespace implements metav1.Object.
func (t *stub) GetNamespace() string { return t.namespace }

// GetName implements metav1.Object.
func (t *stub) GetName() string { return t.name }

// GetResourceVersion implements metav1.Object.
func (t *stub) GetResourceVersion() string { return t.resourceVersion }

// GetOwnerReferences implements metav1.Object.
func (t *stub) GetOwnerReferences() []metav1.OwnerReference {
	if t.owner == "" {
		return nil
	}
	return []metav1.OwnerReference{{
		APIVersion: keysv1alpha1.GroupVersion.String(), Kind: "ApiKey", Name: t.owner, Controller: &controls,
	}}
}

// controls is what OwnerReference.Controller points to.
var controls = true

// GetObjectMeta implements metav1.ObjectMetaAccessor.
func (t *stub) GetObjectMeta() metav1.Object { return t }

// GetObjectKind implements runtime.Object.
func (*stub) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object.
func (t *stub) DeepCopyObject() runtime.Object {
	copied := *t
	return &copied
}

// SecretStubs reads the metadata of Secrets from a cache that keeps stubs of them.
type SecretStubs struct {
	store toolscache.Store
}

// NewSecretStubs returns the Secrets of a cache that has not been started. The cache must be one of all namespaces.
func NewSecretStubs(ctx context.Context, informers cache.Informers) (*SecretStubs, error) {
	secrets := &metav1.PartialObjectMetadata{}
	secrets.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	informer, err := informers.GetInformer(ctx, secrets, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("watching Secrets: %w", err)
	}
	shared, ok := informer.(toolscache.SharedInformer)
	if !ok {
		return nil, fmt.Errorf("the cache's informer is a %T, which does not show what it keeps", informer)
	}
	return SecretStubsOf(shared.GetStore()), nil
}

// SecretStubsOf returns the Secrets in a store of stubs.
func SecretStubsOf(store toolscache.Store) *SecretStubs { return &SecretStubs{store: store} }

// Get implements publication.Getter.
func (t *SecretStubs) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	object, _, err := t.store.GetByKey(name.String())
	if err != nil {
		return err
	}
	kept, ok := object.(*stub)
	if !ok {
		return apierrors.NewNotFound(corev1.Resource("secrets"), name.Name)
	}
	into.SetNamespace(kept.namespace)
	into.SetName(kept.name)
	into.SetResourceVersion(kept.resourceVersion)
	into.SetOwnerReferences(kept.GetOwnerReferences())
	return nil
}

// OwnerOf returns the reference to the ApiKey that owns an object, or nil. Nobody may change it.
func OwnerOf(object metav1.Object) *metav1.OwnerReference {
	owner := metav1.GetControllerOfNoCopy(object)
	if owner == nil || owner.Kind != "ApiKey" || !strings.HasPrefix(owner.APIVersion, keysv1alpha1.GroupName+"/") {
		return nil
	}
	return owner
}
