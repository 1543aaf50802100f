package index

import (
	"sync/atomic"

	"github.com/nexuscommerce/apikey-operator/internal/access"
)

// View holds everything that decisions are made from. Its parts are replaced one by one, and each is complete whenever
// it is read.
type View struct {
	Credentials *Credentials

	tenants atomic.Pointer[Tenants]
	routes  atomic.Pointer[access.Matcher]
}

// NewView returns an empty view, with which every request is refused.
func NewView() *View {
	v := &View{Credentials: NewCredentials()}
	v.SetTenants(Tenants{})
	v.SetRoutes(access.Compile(nil))
	return v
}

// Tenant returns the tenant with an id.
func (v *View) Tenant(id TenantID) (Tenant, bool) {
	tenant, ok := (*v.tenants.Load())[id]
	return tenant, ok
}

// TenantCount returns the number of tenants.
func (v *View) TenantCount() int { return len(*v.tenants.Load()) }

// SetTenants replaces all tenants. The caller must not change the map afterwards.
func (v *View) SetTenants(tenants Tenants) { v.tenants.Store(&tenants) }

// Routes returns the compiled routes.
func (v *View) Routes() *access.Matcher { return v.routes.Load() }

// SetRoutes replaces all routes.
func (v *View) SetRoutes(routes *access.Matcher) { v.routes.Store(routes) }
