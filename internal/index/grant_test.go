package index_test

import (
	"net/netip"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
)

func TestAllowlist(t *testing.T) {
	for name, test := range map[string]struct {
		cidrs   []keysv1alpha1.CIDR
		address string // blank for the zero address
		want    bool
	}{
		"no list":                        {nil, "203.0.113.7", true},
		"an empty list":                  {[]keysv1alpha1.CIDR{}, "203.0.113.7", true},
		"no list, v6":                    {nil, "2001:db8::7", true},
		"no list, unknown address":       {nil, "", true},
		"v4 inside":                      {[]keysv1alpha1.CIDR{"203.0.113.0/24"}, "203.0.113.7", true},
		"v4 first":                       {[]keysv1alpha1.CIDR{"203.0.113.0/24"}, "203.0.113.0", true},
		"v4 last":                        {[]keysv1alpha1.CIDR{"203.0.113.0/24"}, "203.0.113.255", true},
		"v4 just below":                  {[]keysv1alpha1.CIDR{"203.0.113.0/24"}, "203.0.112.255", false},
		"v4 just above":                  {[]keysv1alpha1.CIDR{"203.0.113.0/24"}, "203.0.114.0", false},
		"v4, one address":                {[]keysv1alpha1.CIDR{"203.0.113.7/32"}, "203.0.113.7", true},
		"v4, the next address":           {[]keysv1alpha1.CIDR{"203.0.113.7/32"}, "203.0.113.8", false},
		"v4, host bits":                  {[]keysv1alpha1.CIDR{"203.0.113.7/24"}, "203.0.113.200", true},
		"every v4":                       {[]keysv1alpha1.CIDR{"0.0.0.0/0"}, "203.0.113.7", true},
		"every v4, but v6":               {[]keysv1alpha1.CIDR{"0.0.0.0/0"}, "2001:db8::7", false},
		"v6 inside":                      {[]keysv1alpha1.CIDR{"2001:db8::/32"}, "2001:db8:ffff::7", true},
		"v6 outside":                     {[]keysv1alpha1.CIDR{"2001:db8::/32"}, "2001:db9::", false},
		"every v6, but v4":               {[]keysv1alpha1.CIDR{"::/0"}, "203.0.113.7", false},
		"every v6, but mapped":           {[]keysv1alpha1.CIDR{"::/0"}, "::ffff:203.0.113.7", false},
		"mapped address":                 {[]keysv1alpha1.CIDR{"203.0.113.0/24"}, "::ffff:203.0.113.7", true},
		"mapped address outside":         {[]keysv1alpha1.CIDR{"203.0.113.0/24"}, "::ffff:203.0.114.7", false},
		"mapped block":                   {[]keysv1alpha1.CIDR{"::ffff:203.0.113.0/120"}, "203.0.113.7", false},
		"v6 with a zone":                 {[]keysv1alpha1.CIDR{"fe80::/10"}, "fe80::1%eth0", false},
		"the second of two":              {[]keysv1alpha1.CIDR{"192.0.2.0/24", "2001:db8::/32"}, "2001:db8::7", true},
		"none of two":                    {[]keysv1alpha1.CIDR{"192.0.2.0/24", "2001:db8::/32"}, "203.0.113.7", false},
		"unknown address":                {[]keysv1alpha1.CIDR{"0.0.0.0/0", "::/0"}, "", false},
		"a block that can't be read":     {[]keysv1alpha1.CIDR{"banana"}, "203.0.113.7", false},
		"a blank block":                  {[]keysv1alpha1.CIDR{""}, "203.0.113.7", false},
		"an address without a length":    {[]keysv1alpha1.CIDR{"203.0.113.7"}, "203.0.113.7", false},
		"too long a length":              {[]keysv1alpha1.CIDR{"203.0.113.0/33"}, "203.0.113.7", false},
		"one can't be read, one can":     {[]keysv1alpha1.CIDR{"banana", "203.0.113.0/24"}, "203.0.113.7", true},
		"one can't be read, one is else": {[]keysv1alpha1.CIDR{"banana", "192.0.2.0/24"}, "203.0.113.7", false},
	} {
		t.Run(name, func(t *testing.T) {
			var address netip.Addr
			if test.address != "" {
				address = netip.MustParseAddr(test.address)
			}
			if got := index.NewAllowlist(test.cidrs).Allows(address); got != test.want {
				t.Errorf("allowed: %t", got)
			}
		})
	}
}

func TestZeroAllowlistAllowsAny(t *testing.T) {
	var list index.Allowlist
	if !list.Allows(netip.Addr{}) || !list.Allows(netip.MustParseAddr("203.0.113.7")) {
		t.Error("an address is refused")
	}
}
