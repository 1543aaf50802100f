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
