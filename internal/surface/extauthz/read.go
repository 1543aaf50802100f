package extauthz

import (
	"net/netip"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// question holds a client's request in a single allocation.
type question struct {
	request verify.Request
	message message
	// values are those of the headers that the decision needs.
	values [len(message{}.inline)]string
}

// read returns the client's request that a CheckRequest describes. It returns false if the request is not described, or
// ambiguously.
func (g *GRPC) read(check string) (*verify.Request, bool) {
	q := &question{}
	m, request := &q.message, &q.request
	if !m.parse(check) || !m.described || m.fragment != "" || !m.consistent() {
		return request, false
	}
	request.Host, request.Method, request.Target = m.host, m.method, m.path
	values := q.values[:0]
	valuesOf := func(wanted headerKind) []string {
		before := len(values)
		for i := range m.headers {
			if m.headers[i].which == wanted {
				values = append(values, m.headers[i].value)
			}
		}
		return values[before:]
	}
	request.Authorization, request.TenantID, request.Connection = valuesOf(authorization), valuesOf(tenant),
		valuesOf(connection)
	request.Traceparent = valuesOf(traceparent)
	request.Client = g.trust.ClientOfProxy(m.peer(), valuesOf(forwardedFor))
	var ok bool
	if request.FixedScopes, ok = m.fixedScopes(); !ok {
		return request, false
	}
	described := request.Method != "" && request.Target != "" // A client of HTTP/1.0 need not name a host.
	return request, described || request.FixedScopes != nil
}

// consistent reports whether the headers can be relied on:
//
//   - Envoy sends either a map in which the values of a name are joined, or single headers (encode_raw_headers). If
//     there are both, the upstream could see either.
//   - A map with names that differ only in case was not joined by the proxy. It has no order, which a chain of
//     addresses needs.
//   - Host, method and path are among the headers too, and must be equal to those of the request.
func (m *message) consistent() bool {
	chains := 0
	for i := range m.headers {
		same := true
		switch h := &m.headers[i]; h.which {
		case forwardedFor:
			chains++
		case methodAgain:
			same = h.value == m.method
		case pathAgain:
			same = h.value == m.path
		case hostAgain:
			same = h.value == m.host
		case other, authorization, tenant, connection, traceparent:
		}
		if !same {
			return false
		}
	}
	return m.joined == 0 || m.lines == 0 && chains <= 1
}

// peer returns the address from which the proxy got the request, or the zero address.
func (m *message) peer() netip.Addr {
	addr, err := netip.ParseAddr(m.source)
	if err != nil {
		return netip.Addr{}
	}
	return addr
}

// fixedScopes returns the scopes that the proxy's configuration fixes. It may contain nothing else: another name is
// probably misspelt.
func (m *message) fixedScopes() (scopes []keysv1alpha1.Scope, ok bool) {
	if len(m.extensions) == 0 {
		return nil, true
	}
	for _, extension := range m.extensions {
		if extension.name != "scope" {
			return nil, false
		}
	}
	return access.ParseScopes(m.extensions[len(m.extensions)-1].value) // The last entry of a name counts.
}
