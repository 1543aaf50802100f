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
	// Problem says why some or all of this isn't known, and the way out.
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

func nameOf(tenant *keysv1alpha1.Tenant) string {
	return printable.Text(cmp.Or(tenant.Spec.DisplayName, tenant.Name))
}

// tenantInfo returns what the page shows of the tenant of a namespace. Who may not look at tenants learns what keys tell.
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

// sendTenant tells of the tenant, if that is something else than what was told.
func (s *keyStream) sendTenant(ctx context.Context, told *tenantInfo) error {
	info, err := s.console.tenantInfo(ctx, s.client, s.namespace)
	if err != nil {
		return err
	}
	if id, ok := s.tenantID.Load().(string); ok && info.ID == "" && info.Problem != "" {
		info.ID = id
	}
	if info == *told {
		return nil
	}
	*told = info
	return s.out.write(&line{Type: "tenant", Tenant: &info})
}

// tenantWatch says when a tenant has changed, of one at a time.
type tenantWatch struct {
	client  *keys.Client
	changed func()

	name string // blank for none
	stop context.CancelFunc
	runs sync.WaitGroup
}

// switchTo watches the tenant of a name from now on, and no other. Who may not watch tenants is told of nothing: theirs is looked at
// every now and then.
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
			_ = t.client.FollowTenant(ctx, name, t.changed) // Looking every now and then tells what is wrong.
			if !sleep(ctx, retryForbidden) {
				return
			}
		}
	})
}

// end watches nothing any more.
func (t *tenantWatch) end() {
	if t.stop != nil {
		t.stop()
	}
	t.runs.Wait()
}
