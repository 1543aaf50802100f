// Package keycache is what the controller keeps in memory of keys, tenants and Secrets: the indexes by which it finds
// them, and the transforms that reduce them to what controllers read, because there may be very many.
package keycache

import (
	"context"
	"fmt"
	"strings"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/quota"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// The indexes of keys find the keys that a change of another object concerns, so that only those are reconciled.
//
// They are the informer's own. An index of controller-runtime stores two sets for each value. For a key's digest, which
// no other key has, they would take half as much memory as the key.
const (
	// claimIndex holds the first digits of the digests that keys claim in status.
	claimIndex = "claim"
	// registeredIndex holds the first digits of the digests that keys register in spec.
	registeredIndex = "registered"
	// newIndex holds, by namespace, the keys whose status has not been written yet.
	newIndex = "new"
	// waitingIndex holds, by namespace, the keys that wait for a place in their tenant's ledger.
	waitingIndex = "waiting"

	// indexedDigits is how many digits of a digest are indexed: 4,096 sets, each with few keys even if there are many.
	indexedDigits = 3
)

// Indexers returns the indexes of keys.
func Indexers() toolscache.Indexers {
	return toolscache.Indexers{
		claimIndex: indexKeys(func(key *keysv1alpha1.ApiKey) (values []string) {
			for i := range key.Status.Credentials {
				values = append(values, firstDigits(key.Status.Credentials[i].Digest))
			}
			return values
		}),
		registeredIndex: indexKeys(func(key *keysv1alpha1.ApiKey) []string {
			if key.Spec.Digest == nil {
				return nil
			}
			return []string{firstDigits(keystate.RegisteredDigest(key))}
		}),
		newIndex: indexKeys(func(key *keysv1alpha1.ApiKey) []string {
			if !lifecycle.IsNew(key) {
				return nil
			}
			return []string{key.Namespace}
		}),
		waitingIndex: indexKeys(func(key *keysv1alpha1.ApiKey) []string {
			if !quota.Waits(key) {
				return nil
			}
			return []string{key.Namespace}
		}),
	}
}

func indexKeys(values func(*keysv1alpha1.ApiKey) []string) toolscache.IndexFunc {
	return func(object any) ([]string, error) {
		key, ok := object.(*keysv1alpha1.ApiKey)
		if !ok {
			return nil, nil
		}
		return values(key), nil
	}
}

// firstDigits returns the part of a digest that is indexed.
func firstDigits(digest string) string {
	return digest[:min(len(digest), len("sha256:")+indexedDigits)]
}

// Keys finds keys in a cache by its indexes.
type Keys struct {
	indexer toolscache.Indexer
}

// NewKeys adds the indexes of keys to a cache that has not been started.
func NewKeys(ctx context.Context, informers cache.Informers) (*Keys, error) {
	indexer, err := indexed(ctx, informers, &keysv1alpha1.ApiKey{}, Indexers())
	return KeysOf(indexer), err
}

// KeysOf returns the keys in an indexer that has the Indexers.
func KeysOf(indexer toolscache.Indexer) *Keys { return &Keys{indexer: indexer} }

// indexed adds indexes of a kind to a cache that has not been started.
func indexed(
	ctx context.Context, informers cache.Informers, kind client.Object, indexers toolscache.Indexers,
) (toolscache.Indexer, error) {
	informer, err := informers.GetInformer(ctx, kind, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, fmt.Errorf("watching a %T: %w", kind, err)
	}
	shared, ok := informer.(toolscache.SharedIndexInformer)
	if !ok {
		return nil, fmt.Errorf("the cache's informer is a %T, which has no indexes", informer)
	}
	if err := shared.AddIndexers(indexers); err != nil {
		return nil, fmt.Errorf("indexing a %T: %w", kind, err)
	}
	return shared.GetIndexer(), nil
}

// by returns the keys with a value in an index. They are the cache's own, so nobody may change them.
func (k *Keys) by(index, value string) []*keysv1alpha1.ApiKey {
	objects, err := k.indexer.ByIndex(index, value)
	if err != nil {
		return nil // There is no such index, which is a mistake that every test would show.
	}
	keys := make([]*keysv1alpha1.ApiKey, 0, len(objects))
	for _, object := range objects {
		if key, ok := object.(*keysv1alpha1.ApiKey); ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// IssuedTo returns the keys that were issued to the tenant with an ID. It goes through all keys: it is called when a
// Tenant changes, which is too rare to be worth the memory of an index.
func (k *Keys) IssuedTo(tenantID string) []*keysv1alpha1.ApiKey {
	var issued []*keysv1alpha1.ApiKey
	for _, object := range k.indexer.List() {
		if key, ok := object.(*keysv1alpha1.ApiKey); ok && strings.EqualFold(key.Status.TenantID, tenantID) {
			issued = append(issued, key)
		}
	}
	return issued
}

// New returns the keys of a namespace whose status has not been written yet. They are the cache's own, so nobody may
// change them.
func (k *Keys) New(_ context.Context, namespace string) ([]*keysv1alpha1.ApiKey, error) {
	return k.by(newIndex, namespace), nil
}

// Waiting returns the keys of a namespace that wait for a place. They are the cache's own, so nobody may change them.
func (k *Keys) Waiting(_ context.Context, namespace string) []*keysv1alpha1.ApiKey {
	return k.by(waitingIndex, namespace)
}

// WaitingNamespaces returns the namespaces that have keys which wait for a place.
func (k *Keys) WaitingNamespaces(context.Context) []string {
	return k.indexer.ListIndexFuncValues(waitingIndex)
}

// Registering returns the keys that register a digest.
func (k *Keys) Registering(digest string) (keys []*keysv1alpha1.ApiKey) {
	for _, key := range k.by(registeredIndex, firstDigits(digest)) {
		if keystate.RegisteredDigest(key) == digest {
			keys = append(keys, key)
		}
	}
	return keys
}

// Claimants returns the keys that claim a digest, written as in status.credentials.
func (k *Keys) Claimants(_ context.Context, digest string) ([]keysv1alpha1.ApiKey, error) {
	var claimants []keysv1alpha1.ApiKey
	for _, key := range k.by(claimIndex, firstDigits(digest)) {
		for i := range key.Status.Credentials {
			if key.Status.Credentials[i].Digest == digest {
				claimants = append(claimants, *key)
			}
		}
	}
	return claimants, nil
}
