package keycache

import (
	"context"
	"maps"
	"slices"
	"strings"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// The indexes of tenants: each reconciliation of each key looks for its own.
const (
	// labelIndex holds a label that a tenant's namespaces must have; blank if no label is certain.
	labelIndex = "label"
	// idIndex holds the IDs of tenants.
	idIndex = "id"
)

// Tenants finds tenants in a cache.
type Tenants struct {
	indexer toolscache.Indexer
}

// NewTenants adds the indexes of tenants to a cache that has not been started.
func NewTenants(ctx context.Context, informers cache.Informers) (*Tenants, error) {
	indexer, err := indexed(ctx, informers, &keysv1alpha1.Tenant{}, TenantIndexers())
	return TenantsOf(indexer), err
}

// TenantIndexers returns the indexes of tenants.
func TenantIndexers() toolscache.Indexers {
	return toolscache.Indexers{
		labelIndex: indexTenants(selectedLabel),
		idIndex: indexTenants(func(tenant *keysv1alpha1.Tenant) []string {
			return []string{strings.ToLower(tenant.Spec.ID)}
		}),
	}
}

// TenantsOf returns the tenants in an indexer that has the TenantIndexers.
func TenantsOf(indexer toolscache.Indexer) *Tenants { return &Tenants{indexer: indexer} }

func indexTenants(values func(*keysv1alpha1.Tenant) []string) toolscache.IndexFunc {
	return func(object any) ([]string, error) {
		tenant, ok := object.(*keysv1alpha1.Tenant)
		if !ok {
			return nil, nil
		}
		return values(tenant), nil
	}
}

// selectedLabel returns one label that a tenant's selector requires with its value, or a blank if there is none.
func selectedLabel(tenant *keysv1alpha1.Tenant) []string {
	selector := tenant.Spec.NamespaceSelector
	if selector == nil || len(selector.MatchLabels) == 0 {
		return []string{""}
	}
	name := slices.Min(slices.Collect(maps.Keys(selector.MatchLabels)))
	return []string{labelled(name, selector.MatchLabels[name])}
}

func labelled(name, value string) string { return name + "=" + value }

// For returns all tenants that may select a namespace with the given labels, and all with the same id as one of those.
// What they point to is the cache's own, so nobody may change it.
func (t *Tenants) For(_ context.Context, namespace map[string]string) ([]keysv1alpha1.Tenant, error) {
	found := map[string]*keysv1alpha1.Tenant{}
	look := func(index, value string) error {
		objects, err := t.indexer.ByIndex(index, value)
		for _, object := range objects {
			if tenant, ok := object.(*keysv1alpha1.Tenant); ok {
				found[tenant.Name] = tenant
			}
		}
		return err
	}
	if err := look(labelIndex, ""); err != nil {
		return nil, err
	}
	for name, value := range namespace {
		if err := look(labelIndex, labelled(name, value)); err != nil {
			return nil, err
		}
	}
	for _, tenant := range slices.Collect(maps.Values(found)) {
		if err := look(idIndex, strings.ToLower(tenant.Spec.ID)); err != nil {
			return nil, err
		}
	}
	tenants := make([]keysv1alpha1.Tenant, 0, len(found))
	for _, tenant := range found {
		tenants = append(tenants, *tenant)
	}
	return tenants, nil
}
