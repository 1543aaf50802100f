// Package clientip finds the address that a request came from, from what trusted proxies say about it. It is pure.
package clientip

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Trust is the set of proxies whose word counts. The zero value trusts none.
type Trust struct {
	proxies []netip.Prefix
}

// NewTrust reads blocks of proxy addresses. The error names the block that can't be read.
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

// Client returns the address of the client, given the peer that sent the request and the values of its X-Forwarded-For
// header, one element a field line. It walks the chain from the right, where the nearest proxy wrote, past every proxy that
// is trusted; what stands further left anybody may have written. The zero address says that the client isn't known: the
// peer is not trusted (it is a proxy all the same, so its own address says nothing), there is no chain, or what it holds
// where it counts is no plain address.
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

// ClientBeforeOwn is Client for proxies that add their own address to the right of the chain before they ask, as Envoy's HTTP
// ext_authz does. An element that is all alone is theirs, so the client isn't known; nor is it where the last one is not of a
// trusted proxy.
func (t Trust) ClientBeforeOwn(peer netip.Addr, forwardedFor []string) netip.Addr {
	if !t.includes(peer.Unmap()) || len(forwardedFor) == 0 {
		return netip.Addr{}
	}
	others, last := forwardedFor[:len(forwardedFor)-1], forwardedFor[len(forwardedFor)-1]
	own := last
	if i := strings.LastIndexByte(last, ','); i >= 0 {
		others, own = append(slices.Clone(others), last[:i]), last[i+1:]
	}
	return t.Client(parse(strings.Trim(own, " \t")), others)
}

// ClientOfProxy is Client for proxies that also say who their own peer is, as Envoy's gRPC ext_authz does: where that peer is
// no proxy that is trusted, it is the client. Without any trusted proxies the client isn't known: who hasn't named them can't
// have an allowlist hold for a proxy's address.
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

// Peer reads the address of a connection's other end as net.Addr writes it, with a port. The zero address says that it has
// none.
func Peer(remote string) netip.Addr {
	addr, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr()
}

// parse reads an address, with or without a port. A zone means something on one machine only, so it is refused.
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
