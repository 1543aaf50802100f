// Package keycachetest builds the indexes of package keycache for tests that have no running cache: the production code
// finds keys and tenants, in whatever objects a test shows it.
package keycachetest

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/keycache"
)

// Keys returns keys as a cache holds them. They may be shared, so nobody may change them.
func Keys(keys []keysv1alpha1.ApiKey) *keycache.Keys {
	indexer := toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, keycache.Indexers())
	for i := range keys {
		if err := indexer.Add(&keys[i]); err != nil {
			panic(err) // Every ApiKey has a name.
		}
	}
	return keycache.KeysOf(indexer)
}

// Tenants returns tenants as a cache holds them. They may be shared, so nobody may change them.
func Tenants(tenants []keysv1alpha1.Tenant) *keycache.Tenants {
	indexer := toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, keycache.TenantIndexers())
	for i := range tenants {
		if err := indexer.Add(&tenants[i]); err != nil {
			panic(err) // Every Tenant has a name.
		}
	}
	return keycache.TenantsOf(indexer)
}

// Secrets returns the stubs of the Secrets that the controller's cache selects.
func Secrets(secrets []metav1.PartialObjectMetadata) *keycache.SecretStubs {
	store := toolscache.NewStore(toolscache.MetaNamespaceKeyFunc)
	for i := range secrets {
		if secrets[i].Labels[keysv1alpha1.ManagedByLabel] != keysv1alpha1.ManagedByValue {
			continue
		}
		if err := store.Add(keycache.StubOf(&secrets[i])); err != nil {
			panic(err) // Every Secret has a name.
		}
	}
	return keycache.SecretStubsOf(store)
}

// Live finds keys, tenants and Secrets like a cache that is always current: it reads them each time.
type Live struct {
	Reader client.Reader
}

func (l Live) keys(ctx context.Context) (*keycache.Keys, error) {
	list := &keysv1alpha1.ApiKeyList{}
	err := l.Reader.List(ctx, list)
	return Keys(list.Items), err
}

// Claimants implements apikey.Keys.
func (l Live) Claimants(ctx context.Context, digest string) ([]keysv1alpha1.ApiKey, error) {
	cached, err := l.keys(ctx)
	if err != nil {
		return nil, err
	}
	return cached.Claimants(ctx, digest)
}

// New implements apikey.Keys.
func (l Live) New(ctx context.Context, namespace string) ([]*keysv1alpha1.ApiKey, error) {
	cached, err := l.keys(ctx)
	if err != nil {
		return nil, err
	}
	return cached.New(ctx, namespace)
}

// Waiting implements apikey.Keys.
func (l Live) Waiting(ctx context.Context, namespace string) []*keysv1alpha1.ApiKey {
	cached, err := l.keys(ctx)
	if err != nil {
		return nil
	}
	return cached.Waiting(ctx, namespace)
}

// WaitingNamespaces implements apikey.Keys.
func (l Live) WaitingNamespaces(ctx context.Context) []string {
	cached, err := l.keys(ctx)
	if err != nil {
		return nil
	}
	return cached.WaitingNamespaces(ctx)
}

// For implements admission.Tenants.
func (l Live) For(ctx context.Context, namespace map[string]string) ([]keysv1alpha1.Tenant, error) {
	list := &keysv1alpha1.TenantList{}
	if err := l.Reader.List(ctx, list); err != nil {
		return nil, err
	}
	return Tenants(list.Items).For(ctx, namespace)
}

// Get implements publication.Getter.
func (l Live) Get(ctx context.Context, name client.ObjectKey, into client.Object, options ...client.GetOption) error {
	secret := metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := l.Reader.Get(ctx, name, &secret); err != nil {
		return err
	}
	return Secrets([]metav1.PartialObjectMetadata{secret}).Get(ctx, name, into, options...)
}
