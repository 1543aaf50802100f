package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// rootCache watches the Secrets with root keys. It is separate from the manager's cache, which selects Secrets by
// another label and keeps only stubs of them.
type rootCache struct{ cache.Cache }

// newRootCache returns a cache that a manager starts with its own, before any controller.
func newRootCache(ctx context.Context, m manager.Manager, namespace string) (rootCache, error) {
	isRoot, err := labels.NewRequirement(keysv1alpha1.RootLabel, selection.Exists, nil)
	if err != nil {
		return rootCache{}, err
	}
	roots, err := cache.New(m.GetConfig(), cache.Options{
		HTTPClient: m.GetHTTPClient(), Scheme: m.GetScheme(), Mapper: m.GetRESTMapper(),
		DefaultNamespaces:           map[string]cache.Config{namespace: {LabelSelector: labels.NewSelector().Add(*isRoot)}},
		DefaultTransform:            cache.TransformStripManagedFields(),
		ReaderFailOnMissingInformer: true,
	})
	if err != nil {
		return rootCache{}, err
	}
	if _, err := roots.GetInformer(ctx, &corev1.Secret{}, cache.BlockUntilSynced(false)); err != nil {
		return rootCache{}, fmt.Errorf("watching root keys in namespace %s: %w", namespace, err)
	}
	return rootCache{roots}, nil
}

// GetCache makes the manager start it as a cache, and wait for it.
func (c rootCache) GetCache() cache.Cache { return c }
