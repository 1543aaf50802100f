package clientip_test

import (
	"net/netip"
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
		"nobody is trusted":               {nil, "10.0.0.1", []string{"203.0.113.7"}, ""},
		"peer not trusted":                {[]string{"10.0.0.0/8"}, "192.0.2.1", []string{"203.0.113.7"}, ""},
		"one proxy":                       {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"203.0.113.7"}, "203.0.113.7"},
		"two proxies":                     {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		"two proxies, two lines":          {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"203.0.113.7", "10.0.0.2"}, "203.0.113.7"},
		"forged by the client":            {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"198.51.100.1, 203.0.113.7"}, "203.0.113.7"},
		"forged in a line of its own":     {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"198.51.100.1", "203.0.113.7"}, "203.0.113.7"},
		"forged behind a trusted address": {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"198.51.100.1, 10.9.9.9, 203.0.113.7"}, "203.0.113.7"},
		"all trusted":                     {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"10.1.1.1, 10.0.0.2"}, "10.1.1.1"},
		"no chain":                        {[]string{"10.0.0.0/8"}, "10.0.0.1", nil, ""},
		"empty chain":                     {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{""}, ""},
		"garbage nearest":                 {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"203.0.113.7, unknown"}, ""},
		"garbage further left":            {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"unknown, 203.0.113.7"}, "203.0.113.7"},
		"empty element":                   {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"203.0.113.7,"}, ""},
		"v4 mapped":                       {[]string{"10.0.0.0/8"}, "::ffff:10.0.0.1", []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		"v6":                              {[]string{"fd00::/8"}, "fd00::1", []string{"2001:db8::7"}, "2001:db8::7"},
		"zone":                            {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"fe80::1%eth0"}, ""},
		"port":                            {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"203.0.113.7:4711"}, "203.0.113.7"},
		"v6 and port":                     {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
		"quotes":                          {[]string{"10.0.0.0/8"}, "10.0.0.1", []string{`"203.0.113.7"`}, ""},
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

func TestNewTrustNamesTheCulprit(t *testing.T) {
	if _, err := clientip.NewTrust([]string{"10.0.0.0/8", "banana"}); err == nil || !strings.Contains(err.Error(), "banana") {
		t.Errorf("error %v", err)
	}
}

func FuzzClient(f *testing.F) {
	for _, seed := range []string{"203.0.113.7", "1.1.1.1, 10.0.0.2", "fe80::1%eth0", "::ffff:1.2.3.4", ",,,", "[::1]:80"} {
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
		// Whatever the client wrote, an address that a trusted proxy appended is the one that counts.
		if got := trust.Client(peer, []string{forged, "203.0.113.7"}); got != netip.MustParseAddr("203.0.113.7") {
			t.Errorf("%q moved the client to %v", forged, got)
		}
	})
}
