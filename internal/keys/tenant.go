package keys

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/ledger"
	"github.com/nexuscommerce/apikey-operator/internal/tenancy"
)

// TenantError says why a namespace does not belong to exactly one tenant.
type TenantError struct {
	Namespace string
	// Selected are the names of the tenants that select the namespace: none, or more than one.
	Selected []string
}

// Error implements error.
func (e *TenantError) Error() string {
	if len(e.Selected) == 0 {
		return "no tenant selects namespace " + e.Namespace
	}
	return fmt.Sprintf("namespace %s is selected by the tenants %s", e.Namespace, strings.Join(e.Selected, ", "))
}

// reason returns the reason of the condition that a key in the namespace would have.
func (e *TenantError) reason() string {
	if len(e.Selected) == 0 {
		return keysv1alpha1.ReasonNoTenant
	}
	return keysv1alpha1.ReasonAmbiguousTenant
}

// TenantOf returns the one tenant that a namespace with some labels belongs to. The error is a *TenantError.
func TenantOf(namespace string, labels map[string]string, tenants []keysv1alpha1.Tenant) (*keysv1alpha1.Tenant, error) {
	selected := tenancy.Of(labels, tenants)
	if len(selected) == 1 {
		return selected[0], nil
	}
	e := &TenantError{Namespace: namespace}
	for _, tenant := range selected {
		e.Selected = append(e.Selected, tenant.Name)
	}
	return nil, e
}

// TenantFor returns the tenant of a namespace. If the user may not read the namespace's labels, it is the tenant of the
// keys that are there.
func (c *Client) TenantFor(ctx context.Context, namespace string) (*keysv1alpha1.Tenant, error) {
	tenants, err := c.Tenants(ctx)
	if err != nil {
		return nil, err
	}
	labels, err := c.Namespace(ctx, namespace)
	if err == nil {
		return TenantOf(namespace, labels, tenants)
	}
	if !apierrors.IsForbidden(err) {
		return nil, err
	}
	all, listErr := c.List(ctx, Selection{Namespace: namespace})
	if listErr != nil {
		return nil, listErr
	}
	for i := range all {
		for j := range tenants {
			if id := all[i].Status.TenantID; id != "" && strings.EqualFold(id, tenants[j].Spec.ID) {
				return &tenants[j], nil
			}
		}
	}
	return nil, fmt.Errorf(
		"you may not read the labels of namespace %s, and no key in it says whose it is: name the tenant (%w)", namespace,
		err)
}

// FollowTenant calls a function when a tenant has changed, once to begin with, until the context ends or something goes
// wrong.
func (c *Client) FollowTenant(ctx context.Context, name string, changed func()) error {
	var list keysv1alpha1.TenantList
	options := &client.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", name)}
	if err := c.api.List(ctx, &list, options); err != nil {
		return err
	}
	changed()
	return c.watch(ctx, &list, options, list.ResourceVersion, func(watch.Event) (done bool, err error) {
		changed()
		return false, nil
	})
}

// Quota returns how many of a tenant's keys are active, and how many may be.
func Quota(tenant *keysv1alpha1.Tenant) (active, most int) {
	return len(tenant.Status.ActiveKeys), ledger.Max(tenant)
}
