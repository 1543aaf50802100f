// Package tenancy determines which tenant a namespace belongs to. It is pure.
package tenancy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// Of returns the tenants that select a namespace with the given labels, by name. There should be exactly one. If there
// is none, or several, the caller must not guess.
func Of(namespace map[string]string, tenants []keysv1alpha1.Tenant) []*keysv1alpha1.Tenant {
	var selected []*keysv1alpha1.Tenant
	for i := range tenants {
		if selects(&tenants[i], namespace) {
			selected = append(selected, &tenants[i])
		}
	}
	slices.SortFunc(selected, func(a, b *keysv1alpha1.Tenant) int { return cmp.Compare(a.Name, b.Name) })
	return selected
}

func selects(tenant *keysv1alpha1.Tenant, namespace map[string]string) bool {
	if tenant.DeletionTimestamp != nil || tenant.Spec.NamespaceSelector == nil {
		return false
	}
	if len(tenant.Spec.NamespaceSelector.MatchExpressions) == 0 {
		return hasAll(namespace, tenant.Spec.NamespaceSelector.MatchLabels)
	}
	selector, err := Selector(tenant)
	return err == nil && selector.Matches(labels.Set(namespace))
}

// hasAll reports whether a namespace has all of the labels. Most selectors are no more than that. Each key's admission
// evaluates those of all tenants, and creating a labels.Selector for each would take most of its time. Labels that no
// namespace can have need no special treatment here.
func hasAll(namespace, labels map[string]string) bool {
	for name, value := range labels {
		if had, ok := namespace[name]; !ok || had != value {
			return false
		}
	}
	return true
}

// Selector returns a tenant's selector, or an error if it is invalid.
func Selector(tenant *keysv1alpha1.Tenant) (labels.Selector, error) {
	selector, err := metav1.LabelSelectorAsSelector(tenant.Spec.NamespaceSelector)
	if err != nil {
		return nil, fmt.Errorf("spec.namespaceSelector: %w", err)
	}
	return selector, nil
}

// HolderOf returns the Tenant that holds an ID: the oldest one that has it, or the first by name of those created in
// the same second.
func HolderOf(id string, tenants []keysv1alpha1.Tenant) *keysv1alpha1.Tenant {
	var holder *keysv1alpha1.Tenant
	for i := range tenants {
		tenant := &tenants[i]
		if strings.EqualFold(tenant.Spec.ID, id) && (holder == nil || keystate.CompareAge(tenant, holder) < 0) {
			holder = tenant
		}
	}
	return holder
}
