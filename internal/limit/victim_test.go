package limit

import (
	"net"
	"testing"
)

// TestNetwork checks which addresses count as one peer: one machine may have all of a /64 of IPv6.
func TestNetwork(t *testing.T) {
	peerOf := func(ip, zone string) string {
		return network(&net.TCPAddr{IP: net.ParseIP(ip), Zone: zone, Port: 4711}).String()
	}
	for _, same := range [][2]string{
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"},
		{"::ffff:203.0.113.7", "203.0.113.7"},
		{"fe80::1", "fe80::2"},
	} {
		if peerOf(same[0], "") != peerOf(same[1], "") {
			t.Errorf("%s and %s are two peers", same[0], same[1])
		}
	}
	if peerOf("fe80::1", "eth0") != peerOf("fe80::1", "eth1") {
		t.Error("a zone makes another peer")
	}
	for _, other := range [][2]string{
		{"2001:db8:1:2::1", "2001:db8:1:3::1"}, {"203.0.113.7", "203.0.113.8"}, {"::ffff:203.0.113.7", "::ffff:203.0.113.8"},
	} {
		if peerOf(other[0], "") == peerOf(other[1], "") {
			t.Errorf("%s and %s are one peer", other[0], other[1])
		}
	}
	if got := network(&net.UnixAddr{Name: "/run/x"}); got.IsValid() {
		t.Errorf("a socket of Unix has the address %s", got)
	}
}
