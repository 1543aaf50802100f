package index_test

import (
	"net"
	"net/netip"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
)

// FuzzAllowlist compares allowlists with package net, which reads addresses with other code: an address must be allowed
// if it is in one of the blocks. A block that can't be read allows nothing. Package net reads more than netip does,
// such as 10.0.0.0/08, so a list must allow what both read.
func FuzzAllowlist(f *testing.F) {
	for _, seed := range [][3]string{
		{"203.0.113.0/24", "2001:db8::/32", "203.0.113.7"}, {"203.0.113.7/32", "", "203.0.113.8"},
		{"0.0.0.0/0", "banana", "::1"},
		{"::/0", "10.0.0.0/33", "::ffff:10.0.0.1"}, {"::ffff:10.0.0.0/104", "10.0.0.0/-1", "10.1.2.3"},
		{"fe80::/10", "fe80::1%eth0/64", "fe80::1%eth0"},
		{"10.0.0.1/8", "010.0.0.0/8", "10.200.0.1"}, {"::/0", "0.0.0.0/00", "0.0.0.0"}, {"192.168.0.0/16 ", "/8", ""},
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
			t.Fatalf("an unknown client is allowed by %q and %q", first, second)
		}
		may, must := false, false
		for _, cidr := range []string{first, second} {
			_, block, err := net.ParseCIDR(cidr)
			if err != nil || !client.IsValid() || !block.Contains(net.IP(client.Unmap().AsSlice())) {
				continue
			}
			may = true
			if prefix, err := netip.ParsePrefix(cidr); err == nil && !prefix.Addr().Is4In6() && client.Zone() == "" {
				must = true
			}
		}
		if got && !may {
			t.Errorf("%v is allowed by %q and %q", client, first, second)
		}
		if !got && must {
			t.Errorf("%v is refused by %q and %q", client, first, second)
		}
	})
}
