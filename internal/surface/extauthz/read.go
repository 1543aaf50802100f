package extauthz

import (
	"net/netip"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// read returns the client's request as a CheckRequest describes it. It is false where that isn't said, or said in two ways.
func (g *GRPC) read(check *authv3.CheckRequest) (verify.Request, bool) {
	attributes := check.GetAttributes()
	http := attributes.GetRequest().GetHttp()
	request := verify.Request{Host: http.GetHost(), Method: http.GetMethod(), Target: http.GetPath()}
	var fields fields
	if http == nil || http.GetFragment() != "" || !fields.read(http) {
		return request, false
	}
	request.Authorization, request.TenantID, request.Connection = fields.authorization, fields.tenant, fields.connection
	request.Traceparent = fields.traceparent
	request.Client = g.trust.ClientOfProxy(source(attributes), fields.forwardedFor)
	var ok bool
	if request.FixedScopes, ok = fixedScopes(attributes.GetContextExtensions()); !ok {
		return request, false
	}
	described := request.Host != "" && request.Method != "" && request.Target != ""
	return request, described || request.FixedScopes != nil
}

// source is the address that the proxy has the request from, or the zero address.
func source(attributes *authv3.AttributeContext) netip.Addr {
	addr, err := netip.ParseAddr(attributes.GetSource().GetAddress().GetSocketAddress().GetAddress())
	if err != nil {
		return netip.Addr{}
	}
	return addr
}

// fixedScopes reads the scopes that the proxy's configuration asks for. They are the only thing that it may say: another
// name is one that is misspelt.
func fixedScopes(extensions map[string]string) (scopes []keysv1alpha1.Scope, ok bool) {
	if len(extensions) == 0 {
		return nil, true
	}
	list, ok := extensions["scope"]
	if !ok || len(extensions) > 1 {
		return nil, false
	}
	return access.ParseScopes(list)
}

// fields are the values of the client's headers that the decision needs, one element a field line as far as the proxy tells.
type fields struct {
	authorization, tenant, connection, forwardedFor, traceparent []string
}

// read goes through a request's headers. It is false where they can't be relied on:
//
//   - Envoy sends a map in which the values of a name are joined, or every line by itself (encode_raw_headers). With both,
//     there is no telling which of them the upstream will see.
//   - A line's value is either text or bytes.
//   - Host, method and path stand among the headers too, and must be those that the request is described with.
func (f *fields) read(http *authv3.AttributeContext_HttpRequest) bool {
	joined, lines := http.GetHeaders(), http.GetHeaderMap().GetHeaders()
	if len(joined) > 0 && len(lines) > 0 {
		return false
	}
	for name, value := range joined {
		if !f.add(http, name, value) {
			return false
		}
	}
	// Names differ by case only if the proxy hasn't joined them, and a map has no order.
	if len(joined) > 0 && len(f.forwardedFor) > 1 {
		return false
	}
	for _, line := range lines {
		value := line.GetValue()
		if raw := line.GetRawValue(); len(raw) > 0 {
			if value != "" {
				return false
			}
			value = string(raw)
		}
		if !f.add(http, line.GetKey(), value) {
			return false
		}
	}
	return true
}

// add notes a header where the decision needs it. It is false where the header contradicts the request's description.
func (f *fields) add(http *authv3.AttributeContext_HttpRequest, name, value string) bool {
	switch strings.ToLower(name) {
	case "authorization":
		f.authorization = append(f.authorization, value)
	case "x-tenant-id":
		f.tenant = append(f.tenant, value)
	case "connection":
		f.connection = append(f.connection, value)
	case "x-forwarded-for":
		f.forwardedFor = append(f.forwardedFor, value)
	case "traceparent":
		f.traceparent = append(f.traceparent, value)
	case ":method":
		return value == http.GetMethod()
	case ":path":
		return value == http.GetPath()
	case ":authority", "host":
		return value == http.GetHost()
	}
	return true
}
