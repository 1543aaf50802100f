package index_test

import (
	"net"
	"net/netip"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// FuzzAllowlist checks that a list allows what package net, which reads addresses by other code, finds in its blocks, and
// that a block that can't be read allows nothing.
func FuzzAllowlist(f *testing.F) {
	for _, seed := range [][3]string{
		{"203.0.113.0/24", "2001:db8::/32", "203.0.113.7"}, {"203.0.113.7/32", "", "203.0.113.8"}, {"0.0.0.0/0", "banana", "::1"},
		{"::/0", "10.0.0.0/33", "::ffff:10.0.0.1"}, {"::ffff:10.0.0.0/104", "10.0.0.0/-1", "10.1.2.3"}, {"fe80::/10", "fe80::1%eth0/64", "fe80::1%eth0"},
		{"10.0.0.1/8", "010.0.0.0/8", "10.200.0.1"}, {"192.168.0.0/16 ", "/8", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, first, second, from string) {
		client, err := netip.ParseAddr(from)
		if err != nil {
			client = netip.Addr{}
		}
		got := index.NewAllowlist([]keysv1alpha1.CIDR{keysv1alpha1.CIDR(first), keysv1alpha1.CIDR(second)}).Allows(client)
		if !client.IsValid() && got {
			t.Fatalf("a client that isn't known is allowed by %q and %q", first, second)
		}
		want := false
		for _, cidr := range []string{first, second} {
			if _, block, err := net.ParseCIDR(cidr); err == nil && client.IsValid() {
				want = want || block.Contains(net.IP(client.Unmap().AsSlice()))
			}
		}
		if got && !want {
			t.Errorf("%v is allowed by %q and %q", client, first, second)
		}
		if prefix, err := netip.ParsePrefix(first); err == nil && !prefix.Addr().Is4In6() && client.Zone() == "" && !got && want {
			t.Errorf("%v is refused by %q and %q", client, first, second)
		}
	})
}
