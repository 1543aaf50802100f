package conformance_test

import (
	"net/http"
	"strings"
)

// behindBalancer sends requests through a load balancer, which tells the proxy the client's address, and around it.
func behindBalancer(s *subject) string {
	b := s.setUp.balanced
	if len(b.edits) == 0 {
		return "no"
	}
	return s.beside("behind a load balancer", b.edits, throughBalancer)
}

// throughBalancer asks a set-up that believes a load balancer.
func throughBalancer(v *subject) string {
	b := v.setUp.balanced
	through := func(client string, headers ...string) answer {
		request := v.request("GET", "/api/products", "nearby", headers...)
		if b.protocol {
			return v.askFrom(balancer, "PROXY TCP4 "+client+" 127.0.0.1 40000 80\r\n"+request)
		}
		chain := append([]string{}, headers...)
		chain = append(chain, client) // It appends the client's address to what the client wrote.
		return v.askFrom(balancer, v.request("GET", "/api/products", "nearby", "X-Forwarded-For: "+strings.Join(chain, ", ")))
	}
	if a := through(stranger); a.status == http.StatusOK {
		v.fault("a client that a load balancer says is at %s passes an allowlist without that address", stranger)
	}
	if !b.protocol && through(stranger, clientAddress).status == http.StatusOK {
		v.fault("a client chooses the address that an allowlist sees, in front of a load balancer")
	}
	around := []string{
		v.request("GET", "/api/products", "nearby", "X-Forwarded-For: "+clientAddress),
		"PROXY TCP4 " + clientAddress + " 127.0.0.1 40000 80\r\n" + v.request("GET", "/api/products", "nearby"),
	}
	for _, request := range around {
		if a := v.askFrom(stranger, request); a.status == http.StatusOK && !b.believing {
			v.fault("a client that goes around the load balancer chooses the address that an allowlist sees")
		}
	}
	a := through(clientAddress)
	switch {
	case !a.passed():
		return noIfForbidden(a)
	case b.protocol:
		return "by the PROXY protocol"
	case b.believing:
		return "if nobody else can connect"
	default:
		return "yes"
	}
}
