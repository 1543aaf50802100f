package index

import "slices"

// TenantID is a tenant's UUID, RFC 9562, as its 16 bytes.
type TenantID [16]byte

// ParseTenantID reads a UUID in its canonical form of 32 hexadecimal digits, in either case, and four hyphens.
func ParseTenantID(s string) (id TenantID, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return TenantID{}, false
	}
	at := 0
	for i := range id {
		if at == 8 || at == 13 || at == 18 || at == 23 {
			at++
		}
		high, low := hexDigit(s[at]), hexDigit(s[at+1])
		if high > 15 || low > 15 {
			return TenantID{}, false
		}
		id[i] = high<<4 | low
		at += 2
	}
	return id, true
}

func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// String returns the UUID in lower case, as RFC 9562 has it written.
func (id TenantID) String() string {
	const digits = "0123456789abcdef"
	text := make([]byte, 0, 36)
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text = append(text, '-')
		}
		text = append(text, digits[b>>4], digits[b&15])
	}
	return string(text)
}

// Tenant is what a decision needs to know of a tenant.
type Tenant struct {
	// IDHeader is the tenant's id as text, for the upstream.
	IDHeader  string
	Suspended bool
	// Allowlists are those of every Tenant object with this id. A client must be on all of them.
	Allowlists []Allowlist
}

// Tenants are all the tenants by id.
type Tenants map[TenantID]Tenant

// Add adds a tenant. Of several with the same id each can take away what the others allow.
func (t Tenants) Add(id TenantID, tenant Tenant) {
	if existing, ok := t[id]; ok {
		tenant.Suspended = tenant.Suspended || existing.Suspended
		tenant.Allowlists = slices.Concat(existing.Allowlists, tenant.Allowlists)
	}
	t[id] = tenant
}
