package index

import "slices"

// TenantID is a tenant's UUID, RFC 9562, as its 16 bytes.
type TenantID [16]byte

// ParseTenantID reads a UUID in its canonical form of 32 hexadecimal digits, in either case, and four hyphens.
func ParseTenantID(s string) (id TenantID, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return TenantID{}, false
	}
	var all byte
	for i, at := range [...]uint8{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34} {
		high, low := hexDigit[s[at]], hexDigit[s[at+1]]
		all |= high | low
		id[i] = high<<4 | low
	}
	if all > 15 {
		return TenantID{}, false
	}
	return id, true
}

// hexDigit maps each byte that is a hexadecimal digit to its value, and all others to 255. Which digits of a UUID are
// letters is random, so branches would often be mispredicted; a table takes a third of the time.
var hexDigit = func() (table [256]byte) {
	for c := range table {
		table[c] = 255
	}
	for value := range byte(16) {
		table["0123456789abcdef"[value]], table["0123456789ABCDEF"[value]] = value, value
	}
	return table
}()

// String returns the UUID in lower case, as RFC 9562 specifies.
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

// Spelled returns the same as String. It doesn't allocate if the text that the ID was read from is already in lower
// case, as in most requests.
func (id TenantID) Spelled(as string) string {
	// Among hexadecimal digits and hyphens, only upper-case letters lack this bit.
	const lower = 0x2020202020202020
	if uint64At(as, 0)&uint64At(as, 8)&uint64At(as, 16)&uint64At(as, 24)&uint64At(as, 28)&lower == lower {
		return as
	}
	return id.String()
}

// Tenant is what decisions need to know of a tenant.
type Tenant struct {
	Suspended bool
	// Allowlists are those of all Tenant objects with this ID. A client must be on each of them.
	Allowlists []Allowlist
}

// Tenants are all tenants by ID.
type Tenants map[TenantID]Tenant

// Add adds a tenant. If several have the same ID, each of them can restrict what the others allow.
func (t Tenants) Add(id TenantID, tenant Tenant) {
	if existing, ok := t[id]; ok {
		tenant.Suspended = tenant.Suspended || existing.Suspended
		tenant.Allowlists = slices.Concat(existing.Allowlists, tenant.Allowlists)
	}
	t[id] = tenant
}
