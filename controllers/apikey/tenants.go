package apikey

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// The cache's indexes of tenants: each round of each key asks for its own.
const (
	// labelIndex has a label that a tenant's namespaces must have; blank where none is certain.
	labelIndex = "label"
	// idIndex has tenants' ids.
	idIndex = "id"
)

// tenantFinder returns all tenants that may select a namespace with the given labels, and all that have an id of one of those.
type tenantFinder func(ctx context.Context, namespace map[string]string) ([]keysv1alpha1.Tenant, error)

// Tenants finds tenants in a cache.
type Tenants struct {
	indexer toolscache.Indexer
}

// NewTenants has a cache keep indexes of tenants, before it is started.
func NewTenants(ctx context.Context, informers cache.Informers) (*Tenants, error) {
	indexer, err := indexed(ctx, informers, &keysv1alpha1.Tenant{}, toolscache.Indexers{
		labelIndex: byTenant(wantedLabel),
		idIndex:    byTenant(func(tenant *keysv1alpha1.Tenant) []string { return []string{strings.ToLower(tenant.Spec.ID)} }),
	})
	return &Tenants{indexer: indexer}, err
}

func byTenant(values func(*keysv1alpha1.Tenant) []string) toolscache.IndexFunc {
	return func(object any) ([]string, error) {
		tenant, ok := object.(*keysv1alpha1.Tenant)
		if !ok {
			return nil, nil
		}
		return values(tenant), nil
	}
}

// wantedLabel returns a label that a tenant's selector asks for: the first of those that it names with their values.
func wantedLabel(tenant *keysv1alpha1.Tenant) []string {
	selector := tenant.Spec.NamespaceSelector
	if selector == nil || len(selector.MatchLabels) == 0 {
		return []string{""}
	}
	name := slices.Min(slices.Collect(maps.Keys(selector.MatchLabels)))
	return []string{labelled(name, selector.MatchLabels[name])}
}

func labelled(name, value string) string { return name + "=" + value }

// For returns all tenants that may select a namespace with the given labels, and all that have an id of one of those. What they
// point to is the cache's own: nobody may change it.
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

// allTenants lists all tenants, which serves where there are no indexes.
func allTenants(from client.Reader) tenantFinder {
	return func(ctx context.Context, _ map[string]string) ([]keysv1alpha1.Tenant, error) {
		tenants := &keysv1alpha1.TenantList{}
		if err := from.List(ctx, tenants); err != nil {
			return nil, fmt.Errorf("listing tenants: %w", err)
		}
		return tenants.Items, nil
	}
}
