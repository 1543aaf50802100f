package index

import (
	"net/netip"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// Allowlist determines which addresses requests may come from. The zero value allows any.
type Allowlist struct {
	prefixes   []netip.Prefix
	restricted bool
}

// NewAllowlist reads the blocks of an allowlist. A block that can't be read, which the API server doesn't admit, allows
// nothing; the others still count.
func NewAllowlist(cidrs []keysv1alpha1.CIDR) Allowlist {
	list := Allowlist{restricted: len(cidrs) > 0}
	for _, cidr := range cidrs {
		if prefix, err := netip.ParsePrefix(string(cidr)); err == nil {
			list.prefixes = append(list.prefixes, prefix.Masked())
		}
	}
	return list
}

// Allows reports whether requests may come from an address. The zero address stands for an unknown client, which only
// an empty list allows.
func (l Allowlist) Allows(addr netip.Addr) bool {
	if !l.restricted {
		return true
	}
	addr = addr.Unmap()
	for i := range l.prefixes {
		if l.prefixes[i].Contains(addr) {
			return true
		}
	}
	return false
}

// append appends a representation that is the same for equal lists, and only for those.
func (l Allowlist) append(to []byte) []byte {
	if !l.restricted {
		return append(to, 0)
	}
	to = append(to, 1)
	for _, prefix := range l.prefixes {
		to = append(prefix.AppendTo(to), ' ')
	}
	return append(to, 0)
}
