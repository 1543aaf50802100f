// Package clientip finds a client's address from what trusted proxies report. It is pure.
package clientip

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Trust is the set of proxies whose X-Forwarded-For is trusted. The zero value trusts none.
type Trust struct {
	proxies []netip.Prefix
}

// NewTrust parses blocks of proxies' addresses. The error names the invalid block.
func NewTrust(cidrs []string) (Trust, error) {
	var trust Trust
	for _, cidr := range cidrs {
		prefix, err := netip.ParsePrefix(cidr)
		if err != nil {
			return Trust{}, fmt.Errorf("%q is not a block of addresses such as 10.0.0.0/8 or 2001:db8::/32", cidr)
		}
		trust.proxies = append(trust.proxies, prefix.Masked())
	}
	return trust, nil
}

func (t Trust) includes(addr netip.Addr) bool {
	for _, prefix := range t.proxies {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// Client returns the client's address, given the peer that sent the request and the values of its X-Forwarded-For
// header, one for each header line. It walks the chain from the right, where the nearest proxy wrote, past every
// trusted proxy. Anybody may have written what is further left.
//
// It returns the zero address if the client isn't known: the peer is not trusted (it is a proxy all the same, so its
// own address says nothing), there is no chain, or the deciding element is not an address.
func (t Trust) Client(peer netip.Addr, forwardedFor []string) netip.Addr {
	if !t.includes(peer.Unmap()) {
		return netip.Addr{}
	}
	var client netip.Addr
	for _, rest := range slices.Backward(forwardedFor) {
		more := true
		for more {
			var element string
			if i := strings.LastIndexByte(rest, ','); i >= 0 {
				rest, element = rest[:i], rest[i+1:]
			} else {
				element, more = rest, false
			}
			client = parse(strings.Trim(element, " \t"))
			if !client.IsValid() || !t.includes(client) {
				return client
			}
		}
	}
	return client
}

// ClientBehind is Client, except that it never returns a trusted proxy's address. It is for proxies that may append
// their own address to the chain before they ask, as Envoy did with HTTP ext_authz up to version 1.27. That address
// alone says nothing about the client, and an allowlist of the cluster's own addresses would include it.
func (t Trust) ClientBehind(peer netip.Addr, forwardedFor []string) netip.Addr {
	client := t.Client(peer, forwardedFor)
	if t.includes(client) {
		return netip.Addr{}
	}
	return client
}

// ClientOfProxy is Client for proxies that also report their own peer, as Envoy does with gRPC ext_authz. A peer that
// is not a trusted proxy is the client. Without any trusted proxies the client isn't known, so that no allowlist is
// checked against a proxy's address.
func (t Trust) ClientOfProxy(peer netip.Addr, forwardedFor []string) netip.Addr {
	peer = peer.Unmap()
	if len(t.proxies) == 0 || peer.Zone() != "" {
		return netip.Addr{}
	}
	if !t.includes(peer) {
		return peer
	}
	return t.Client(peer, forwardedFor)
}

// Peer parses the address of a connection's other end, with a port as in net.Addr. It returns the zero address if there
// is none.
func Peer(remote string) netip.Addr {
	addr, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr()
}

// parse parses an address, with or without a port. It refuses zones, which are local to one machine.
func parse(element string) netip.Addr {
	addr, err := netip.ParseAddr(element)
	if err != nil {
		withPort, err := netip.ParseAddrPort(element)
		if err != nil {
			return netip.Addr{}
		}
		addr = withPort.Addr()
	}
	if addr.Zone() != "" {
		return netip.Addr{}
	}
	return addr.Unmap()
}
