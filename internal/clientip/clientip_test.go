package clientip_test

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
)

func TestClient(t *testing.T) {
	for name, test := range map[string]struct {
		trusted      []string
		peer         string
		forwardedFor []string
		want         string
	}{
		"nobody is trusted": {nil, "10.0.0.1", []string{"203.0.113.7"}, ""},
		"peer not trusted":  {[]string{"10.0.0.0/8"}, "192.0.2.1", []string{"203.0.113.7"}, ""},
		"one proxy":         {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"203.0.113.7"}, "203.0.113.7"},
		"two proxies": {
			[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"203.0.113.7, 10.0.0.2"}, "203.0.113.7",
		},
		"two proxies, two lines": {
			[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"203.0.113.7", "10.0.0.2"}, "203.0.113.7",
		},
		"forged by the client": {
			[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"198.51.100.1, 203.0.113.7"}, "203.0.113.7",
		},
		"forged in a line of its own": {
			[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"198.51.100.1", "203.0.113.7"}, "203.0.113.7",
		},
		"forged behind a trusted address": {
			[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"198.51.100.1, 10.9.9.9, 203.0.113.7"}, "203.0.113.7",
		},
		"all trusted":     {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"10.1.1.1, 10.0.0.2"}, "10.1.1.1"},
		"no chain":        {[]string{"10.0.0.0/8"}, "10.0.0.1", nil, ""},
		"empty chain":     {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{""}, ""},
		"garbage nearest": {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"203.0.113.7, unknown"}, ""},
		"garbage further left": {
			[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"unknown, 203.0.113.7"}, "203.0.113.7",
		},
		"empty element": {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"203.0.113.7,"}, ""},
		"v4 mapped": {
			[]string{"10.0.0.0/8"}, "::ffff:10.0.0.1", []string{"::ffff:203.0.113.7"}, "203.0.113.7",
		},
		"v6":   {[]string{"fd00::/8"}, "fd00::1", []string{"2001:db8::7"}, "2001:db8::7"},
		"zone": {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"fe80::1%eth0"}, ""},
		"port": {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"203.0.113.7:4711"}, "203.0.113.7"},
		"v6 and port": {
			[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"[2001:db8::7]:4711"}, "2001:db8::7",
		},
		"quotes": {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{`"203.0.113.7"`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			trust, err := clientip.NewTrust(test.trusted)
			if err != nil {
				t.Fatal(err)
			}
			want, _ := netip.ParseAddr(test.want)
			if got := trust.Client(netip.MustParseAddr(test.peer), test.forwardedFor); got != want {
				t.Errorf("client %v, want %v", got, want)
			}
		})
	}
}

// TestClientBehind covers Envoy over HTTP. Since version 1.28 the last address is the client's; before that, Envoy's
// own address followed it.
func TestClientBehind(t *testing.T) {
	for name, test := range map[string]struct {
		peer         string
		forwardedFor []string
		want         string
	}{
		"the client alone":                     {"10.0.0.1", []string{"203.0.113.7"}, "203.0.113.7"},
		"the client through a load balancer":   {"10.0.0.1", []string{"203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		"forged":                               {"10.0.0.1", []string{"198.51.100.1, 203.0.113.7"}, "203.0.113.7"},
		"forged behind a trusted address":      {"10.0.0.1", []string{"198.51.100.1, 10.0.0.1, 203.0.113.7"}, "203.0.113.7"},
		"a proxy is no client":                 {"10.0.0.1", []string{"10.0.0.2"}, ""},
		"two proxies are no client":            {"10.0.0.1", []string{"10.0.0.3, 10.0.0.2"}, ""},
		"up to 1.27, its own alone":            {"10.0.0.1", []string{"10.0.0.1"}, ""},
		"up to 1.27, the client's and its own": {"10.0.0.1", []string{"203.0.113.7,10.0.0.1"}, "203.0.113.7"},
		"up to 1.27, in two lines":             {"10.0.0.1", []string{"203.0.113.7", "10.0.0.1"}, "203.0.113.7"},
		"up to 1.27, another of its own":       {"10.0.0.1", []string{"203.0.113.7,10.0.0.9"}, "203.0.113.7"},
		"up to 1.27, forged":                   {"10.0.0.1", []string{"198.51.100.1, 203.0.113.7, 10.0.0.1"}, "203.0.113.7"},
		"the last is garbage":                  {"10.0.0.1", []string{"203.0.113.7, banana"}, ""},
		"nothing last":                         {"10.0.0.1", []string{"203.0.113.7,"}, ""},
		"peer not trusted":                     {"192.0.2.1", []string{"203.0.113.7, 10.0.0.1"}, ""},
		"no chain":                             {"10.0.0.1", nil, ""},
		"empty chain":                          {"10.0.0.1", []string{""}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			trust, err := clientip.NewTrust([]string{"10.0.0.0/8"})
			if err != nil {
				t.Fatal(err)
			}
			want, _ := netip.ParseAddr(test.want)
			given := slices.Clone(test.forwardedFor)
			if got := trust.ClientBehind(netip.MustParseAddr(test.peer), test.forwardedFor); got != want {
				t.Errorf("client %v, want %v", got, want)
			}
			if !slices.Equal(given, test.forwardedFor) {
				t.Errorf("the header is changed to %q", test.forwardedFor)
			}
		})
	}
}

// TestClientOfProxy covers Envoy over gRPC, which reports its own peer.
func TestClientOfProxy(t *testing.T) {
	for name, test := range map[string]struct {
		trusted      []string
		peer         string // empty if the proxy doesn't report it
		forwardedFor []string
		want         string
	}{
		"the peer is the client":       {[]string{"10.0.0.0/8"}, "203.0.113.7", nil, "203.0.113.7"},
		"the peer, and what it claims": {[]string{"10.0.0.0/8"}, "203.0.113.7", []string{"198.51.100.1"}, "203.0.113.7"},
		"the peer, and what Envoy wrote": {
			[]string{"10.0.0.0/8"}, "203.0.113.7", []string{"198.51.100.1,203.0.113.7"}, "203.0.113.7",
		},
		"the peer is a proxy": {[]string{"10.0.0.0/8"}, "10.0.0.2", []string{"203.0.113.7"}, "203.0.113.7"},
		"the peer is a proxy, twice": {
			[]string{"10.0.0.0/8"}, "10.0.0.2", []string{"203.0.113.7,10.0.0.2"}, "203.0.113.7",
		},
		"the peer is a proxy, forged": {
			[]string{"10.0.0.0/8"}, "10.0.0.2", []string{"198.51.100.1,203.0.113.7,10.0.0.2"}, "203.0.113.7",
		},
		"the peer is a proxy without chain": {[]string{"10.0.0.0/8"}, "10.0.0.2", nil, ""},
		"a mapped peer":                     {[]string{"10.0.0.0/8"}, "::ffff:203.0.113.7", nil, "203.0.113.7"},
		"a mapped peer is a proxy": {
			[]string{"10.0.0.0/8"}, "::ffff:10.0.0.2", []string{"203.0.113.7"}, "203.0.113.7",
		},
		"v6":                {[]string{"fd00::/8"}, "2001:db8::7", nil, "2001:db8::7"},
		"a zone":            {[]string{"fd00::/8"}, "fe80::1%eth0", nil, ""},
		"no peer":           {[]string{"10.0.0.0/8"}, "", []string{"203.0.113.7"}, ""},
		"nobody is trusted": {nil, "203.0.113.7", []string{"203.0.113.7"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			trust, err := clientip.NewTrust(test.trusted)
			if err != nil {
				t.Fatal(err)
			}
			peer, _ := netip.ParseAddr(test.peer)
			want, _ := netip.ParseAddr(test.want)
			if got := trust.ClientOfProxy(peer, test.forwardedFor); got != want {
				t.Errorf("client %v, want %v", got, want)
			}
		})
	}
}

func TestNewTrustNamesTheCulprit(t *testing.T) {
	_, err := clientip.NewTrust([]string{"10.0.0.0/8", "banana"})
	if err == nil || !strings.Contains(err.Error(), "banana") {
		t.Errorf("error %v", err)
	}
}

// FuzzTrust checks that a block that NewTrust accepts contains what netip says it does.
func FuzzTrust(f *testing.F) {
	for _, seed := range []string{
		"10.0.0.0/8", "10.0.0.1/8", "fd00::/8", "::ffff:10.0.0.0/104", "0.0.0.0/0", "::/0", "10.0.0.0/33", "10.0.0.1",
		"fe80::1%eth0/64", "010.0.0.0/8",
	} {
		f.Add(seed, "10.0.0.1")
	}
	f.Fuzz(func(t *testing.T, block, address string) {
		trust, err := clientip.NewTrust([]string{block})
		_, network, lenient := net.ParseCIDR(block)
		if err == nil && lenient != nil {
			t.Fatalf("%q is taken for a block", block)
		}
		addr, parsed := netip.ParseAddr(address)
		if err != nil || parsed != nil || addr.Zone() != "" {
			return
		}
		// The chain of a trusted peer counts. Blocks of IPv4-mapped addresses contain no plain ones.
		trusted := trust.Client(addr, []string{"203.0.113.7"}).IsValid()
		prefix := netip.MustParsePrefix(block)
		if within := network.Contains(net.IP(addr.AsSlice())); trusted != within && !prefix.Addr().Is4In6() {
			t.Errorf("%s in %s: %t, want %t", addr, block, trusted, within)
		}
	})
}

func FuzzClient(f *testing.F) {
	for _, seed := range []string{
		"203.0.113.7", "1.1.1.1, 10.0.0.2", "fe80::1%eth0", "::ffff:1.2.3.4", ",,,", "[::1]:80",
	} {
		f.Add(seed, seed)
	}
	trust, err := clientip.NewTrust([]string{"10.0.0.0/8", "fd00::/8"})
	if err != nil {
		f.Fatal(err)
	}
	peer := netip.MustParseAddr("10.0.0.1")
	f.Fuzz(func(t *testing.T, forged, appended string) {
		got := trust.Client(peer, []string{forged, appended})
		if got.Is4In6() || got.Zone() != "" {
			t.Errorf("%v is not plain", got)
		}
		// Whatever the client wrote, the address that a trusted proxy appended is the client's.
		if got := trust.Client(peer, []string{forged, "203.0.113.7"}); got != netip.MustParseAddr("203.0.113.7") {
			t.Errorf("%q moved the client to %v", forged, got)
		}
		for _, appended := range []string{"203.0.113.7", "203.0.113.7, 10.0.0.1"} {
			if got := trust.ClientBehind(peer, []string{forged, appended}); got != netip.MustParseAddr("203.0.113.7") {
				t.Errorf("%q moved the client behind the proxy to %v", forged, got)
			}
		}
		client := netip.MustParseAddr("203.0.113.7")
		if got := trust.ClientOfProxy(client, []string{forged, appended}); got != client {
			t.Errorf("%q moved the proxy's peer to %v", forged, got)
		}
	})
}
