package extauthz

import (
	"net/netip"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// question is a client's request as it is read, in one piece of memory.
type question struct {
	request verify.Request
	message message
	// values are those of the headers that the decision needs.
	values [len(message{}.inline)]string
}

// read returns the client's request as a CheckRequest describes it. It is false where that isn't said, or said in two ways.
func (g *GRPC) read(check string) (*verify.Request, bool) {
	q := &question{}
	m, request := &q.message, &q.request
	if !m.parse(check) || !m.described || m.fragment != "" || !m.consistent() {
		return request, false
	}
	request.Host, request.Method, request.Target = m.host, m.method, m.path
	values := q.values[:0]
	valuesOf := func(wanted which) []string {
		before := len(values)
		for i := range m.headers {
			if m.headers[i].which == wanted {
				values = append(values, m.headers[i].value)
			}
		}
		return values[before:]
	}
	request.Authorization, request.TenantID, request.Connection = valuesOf(authorization), valuesOf(tenant), valuesOf(connection)
	request.Traceparent = valuesOf(traceparent)
	request.Client = g.trust.ClientOfProxy(m.peer(), valuesOf(forwardedFor))
	var ok bool
	if request.FixedScopes, ok = m.fixedScopes(); !ok {
		return request, false
	}
	described := request.Host != "" && request.Method != "" && request.Target != ""
	return request, described || request.FixedScopes != nil
}

// consistent says whether the headers can be relied on:
//
//   - Envoy sends a map in which the values of a name are joined, or every line by itself (encode_raw_headers). With both,
//     there is no telling which of them the upstream will see.
//   - Names differ by case only if the proxy hasn't joined them, and a map has no order, which a chain of addresses needs.
//   - Host, method and path stand among the headers too, and must be those that the request is described with.
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

// peer is the address that the proxy has the request from, or the zero address.
func (m *message) peer() netip.Addr {
	addr, err := netip.ParseAddr(m.source)
	if err != nil {
		return netip.Addr{}
	}
	return addr
}

// fixedScopes reads the scopes that the proxy's configuration asks for. They are the only thing that it may say: another
// name is one that is misspelt.
func (m *message) fixedScopes() (scopes []keysv1alpha1.Scope, ok bool) {
	if len(m.extensions) == 0 {
		return nil, true
	}
	for _, extension := range m.extensions {
		if extension.name != "scope" {
			return nil, false
		}
	}
	return access.ParseScopes(m.extensions[len(m.extensions)-1].value) // The last of a name is the one that counts.
}
