package console

import (
	"cmp"
	"context"
	"errors"
	"sync"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// tenantInfo is what the page shows of a tenant.
type tenantInfo struct {
	Name        string `json:"name,omitempty"`
	ID          string `json:"id,omitempty"`
	BaseURL     string `json:"baseURL,omitempty"`
	Active      int    `json:"active"`
	Most        int    `json:"most"`
	Environment string `json:"environment,omitempty"`
	Suspended   bool   `json:"suspended,omitempty"`
	// Problem is why some or all of this is unknown, and what to do.
	Problem string `json:"problem,omitempty"`

	// object is the name in Kubernetes.
	object string
}

func newTenantInfo(tenant *keysv1alpha1.Tenant) tenantInfo {
	active, most := keys.Quota(tenant)
	return tenantInfo{
		Name: nameOf(tenant), ID: tenant.Spec.ID, BaseURL: printable.Text(tenant.Spec.APIBaseURL), Active: active, Most: most,
		Environment: string(tenant.Spec.Environment), Suspended: keystate.TenantSuspended(tenant),
		object: tenant.Name,
	}
}

// nameOf returns the tenant's name for people.
func nameOf(tenant *keysv1alpha1.Tenant) string {
	return printable.Text(cmp.Or(tenant.Spec.DisplayName, tenant.Name))
}

// tenantInfo returns what the page shows of the tenant of a namespace, as far as the user may read it.
func (c *Console) tenantInfo(ctx context.Context, client *keys.Client, namespace string) (tenantInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	tenant, err := client.TenantFor(ctx, namespace)
	if err == nil {
		return newTenantInfo(tenant), nil
	}
	if _, ok := errors.AsType[*keys.TenantError](err); ok {
		return tenantInfo{Problem: explain(err).Message}, nil
	}
	if explain(err).Reason != reasonForbidden {
		return tenantInfo{}, err
	}
	return tenantInfo{Problem: "You may not read tenants, so the base URL and the quota are not shown. " +
		"A ClusterRoleBinding to the ClusterRole apikey-view shows them."}, nil
}

// sendTenant sends the tenant if it differs from what was last sent.
func (s *keyStream) sendTenant(ctx context.Context, sent *tenantInfo) error {
	info, err := s.console.tenantInfo(ctx, s.client, s.namespace)
	if err != nil {
		return err
	}
	if id, ok := s.tenantID.Load().(string); ok && info.ID == "" && info.Problem != "" {
		info.ID = id
	}
	if info == *sent {
		return nil
	}
	*sent = info
	return s.out.write(&line{Type: "tenant", Tenant: &info})
}

// tenantWatch watches one tenant at a time.
type tenantWatch struct {
	client  *keys.Client
	changed func()

	name string // blank for none
	stop context.CancelFunc
	runs sync.WaitGroup
}

// switchTo watches the tenant of a name from now on, and no other. If the user may not watch tenants, nothing happens:
// keepRefreshing reads the tenant now and then.
func (t *tenantWatch) switchTo(ctx context.Context, name string) {
	if name == t.name {
		return
	}
	t.end()
	t.name = name
	if name == "" {
		return
	}
	ctx, t.stop = context.WithCancel(ctx)
	t.runs.Go(func() {
		for {
			_ = t.client.FollowTenant(ctx, name, t.changed) // keepRefreshing reports what is wrong.
			if !sleep(ctx, retryForbidden) {
				return
			}
		}
	})
}

// end ends the watch.
func (t *tenantWatch) end() {
	if t.stop != nil {
		t.stop()
	}
	t.runs.Wait()
}
