package apikey

import (
	"context"
	"fmt"
	"strings"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// The cache's indexes of keys: what happens to one object must not have all keys looked at.
//
// They are the informer's own. Those of controller-runtime have two entries for a value, and an entry is a set, so that of a
// key's digest, which no other key has, they would take as much memory as half of the key.
const (
	// claimIndex has the beginnings of the digests that keys claim.
	claimIndex = "claim"
	// askedIndex has the beginnings of the digests that keys bring, as spec has them.
	askedIndex = "asked"
	// newIndex has, by namespace, the keys of which nothing has been written yet.
	newIndex = "new"
	// waitingIndex has, by namespace, the keys that wait for a place in their tenant's ledger.
	waitingIndex = "waiting"

	// beginning is how many digits of a digest an index has: 4,096 sets, of which each has few of very many keys.
	beginning = 3
)

// indexers make the indexes.
func indexers() toolscache.Indexers {
	return toolscache.Indexers{
		claimIndex: byKey(func(key *keysv1alpha1.ApiKey) (values []string) {
			for i := range key.Status.Credentials {
				values = append(values, beginningOf(key.Status.Credentials[i].Digest))
			}
			return values
		}),
		askedIndex: byKey(func(key *keysv1alpha1.ApiKey) []string {
			if key.Spec.Digest == nil {
				return nil
			}
			return []string{beginningOf(brought(key))}
		}),
		newIndex: byKey(func(key *keysv1alpha1.ApiKey) []string {
			if !isNew(key) {
				return nil
			}
			return []string{key.Namespace}
		}),
		waitingIndex: byKey(func(key *keysv1alpha1.ApiKey) []string {
			if !waits(key) {
				return nil
			}
			return []string{key.Namespace}
		}),
	}
}

func byKey(values func(*keysv1alpha1.ApiKey) []string) toolscache.IndexFunc {
	return func(object any) ([]string, error) {
		key, ok := object.(*keysv1alpha1.ApiKey)
		if !ok {
			return nil, nil
		}
		return values(key), nil
	}
}

// brought returns the digest that a key brings, as Credential.Digest has it; blank where it brings none.
func brought(key *keysv1alpha1.ApiKey) string {
	if key.Spec.Digest == nil {
		return ""
	}
	return "sha256:" + key.Spec.Digest.SHA256
}

// beginningOf returns what the indexes have of a digest.
func beginningOf(digest string) string {
	return digest[:min(len(digest), len("sha256:")+beginning)]
}

// Index finds keys in a cache.
type Index struct {
	indexer toolscache.Indexer
}

// NewIndex has a cache keep an index, before it is started.
func NewIndex(ctx context.Context, informers cache.Informers) (*Index, error) {
	indexer, err := indexed(ctx, informers, &keysv1alpha1.ApiKey{}, indexers())
	return &Index{indexer: indexer}, err
}

// indexed has a cache keep indexes of a kind, before it is started.
func indexed(ctx context.Context, informers cache.Informers, kind client.Object, indexers toolscache.Indexers) (toolscache.Indexer, error) {
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

// by returns the keys with a value in an index. They are the cache's own: nobody may change them.
func (i *Index) by(index, value string) []*keysv1alpha1.ApiKey {
	objects, err := i.indexer.ByIndex(index, value)
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

// issuedTo returns the keys that were issued to the tenant with an id. That is asked for when a Tenant changes, which is seldom: an
// index would take more memory than looking at every key takes time.
func (i *Index) issuedTo(tenantID string) []*keysv1alpha1.ApiKey {
	var issued []*keysv1alpha1.ApiKey
	for _, object := range i.indexer.List() {
		if key, ok := object.(*keysv1alpha1.ApiKey); ok && strings.EqualFold(key.Status.TenantID, tenantID) {
			issued = append(issued, key)
		}
	}
	return issued
}

// New returns the keys of a namespace of which nothing has been written yet. They are the cache's own: nobody may change them.
func (i *Index) New(_ context.Context, namespace string) ([]*keysv1alpha1.ApiKey, error) {
	return i.by(newIndex, namespace), nil
}

// Claimants returns the keys that claim a digest, as Credential.Digest has it.
func (i *Index) Claimants(_ context.Context, digest string) ([]keysv1alpha1.ApiKey, error) {
	var claimants []keysv1alpha1.ApiKey
	for _, key := range i.by(claimIndex, beginningOf(digest)) {
		for i := range key.Status.Credentials {
			if key.Status.Credentials[i].Digest == digest {
				claimants = append(claimants, *key)
			}
		}
	}
	return claimants, nil
}
