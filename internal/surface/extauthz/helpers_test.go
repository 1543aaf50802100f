package extauthz_test

import (
	"context"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	acme  = "3714240b-2e06-4c35-8856-ccc1c096323e"
	envoy = "10.0.0.1"
)

var (
	identityHeaders = []string{"x-api-key-id", "x-api-key-name", "x-api-key-scopes", "x-api-key-tenant"}

	grant   = index.Grant{CredentialID: "7Hk2PqZx", Name: "shop/warehouse", ScopesHeader: "products:read orders:*"}
	allowed = verify.Decision{Outcome: verify.Allow, Reason: verify.ReasonAllowed, Grant: grant, TenantID: acme}
	nobody  = verify.Decision{Outcome: verify.Allow, Reason: verify.ReasonAnonymous}
)

// recorder is a decider that records the request, and returns a fixed decision.
type recorder struct {
	decision verify.Decision
	surface  string
	request  *verify.Request
}

func (r *recorder) Decide(surface string, request *verify.Request) verify.Decision {
	r.surface, r.request = surface, request
	return r.decision
}

func (r *recorder) Refuse(surface string, reason verify.Reason) verify.Decision {
	r.surface = surface
	return verify.Decision{Outcome: verify.Forbidden, Reason: reason}
}

func newTrust(t testing.TB) clientip.Trust {
	t.Helper()
	trust, err := clientip.NewTrust([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// described returns the request line and host of a request, or "misconfigured".
func described(request *verify.Request) string {
	if request == nil {
		return "misconfigured"
	}
	return request.Method + " " + request.Host + " " + request.Target
}

// newCheck returns Envoy's CheckRequest for
//
//	GET https://api.example.com/api/products?limit=10
//
// from a client at 203.0.113.7, for a test to change.
func newCheck() *authv3.CheckRequest {
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: socket("203.0.113.7")},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Id:     "1",
			Method: "GET",
			Path:   "/api/products?limit=10",
			Host:   "api.example.com",
			Scheme: "https",
			Headers: map[string]string{
				":method": "GET", ":path": "/api/products?limit=10", ":authority": "api.example.com", ":scheme": "https",
				"authorization": "Bearer a", "x-tenant-id": "b", "user-agent": "curl",
			},
		}},
	}}
}

func socket(address string) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 4711},
	}}}
}

// http returns the part of a CheckRequest that is about HTTP.
func http(check *authv3.CheckRequest) *authv3.AttributeContext_HttpRequest {
	return check.GetAttributes().GetRequest().GetHttp()
}

// raw turns the map of headers into single headers, as Envoy does with encode_raw_headers, and adds more: names and
// values in turn.
func raw(check *authv3.CheckRequest, more ...string) {
	request := http(check)
	request.HeaderMap = &corev3.HeaderMap{}
	for name, value := range request.Headers {
		more = append(more, name, value)
	}
	for i := 0; i < len(more); i += 2 {
		request.HeaderMap.Headers = append(
			request.HeaderMap.Headers, &corev3.HeaderValue{Key: more[i], RawValue: []byte(more[i+1])},
		)
	}
	request.Headers = nil
}

// ask returns the request that the decider gets for a CheckRequest, or nil if it is refused before, and the answer.
func ask(
	t testing.TB, decision verify.Decision, request *authv3.CheckRequest,
) (*verify.Request, *authv3.CheckResponse) {
	t.Helper()
	wire, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return askWire(t, decision, wire)
}

// askWire is ask for an encoded message.
func askWire(t testing.TB, decision verify.Decision, wire []byte) (*verify.Request, *authv3.CheckResponse) {
	t.Helper()
	decider := &recorder{decision: decision}
	response := checkWire(t, extauthz.NewGRPC(decider, newTrust(t), false), t.Context(), wire)
	if decider.surface != "grpc" {
		t.Errorf("counted as %q", decider.surface)
	}
	return decider.request, response
}

// checkWire returns the decoded answer to an encoded message.
func checkWire(
	t testing.TB, g *extauthz.GRPC, ctx context.Context, wire []byte, //nolint:revive // t comes first.
) *authv3.CheckResponse {
	t.Helper()
	const before = "what stands there already"
	wireResponse := g.Check(ctx, []byte(before), string(wire))
	response := &authv3.CheckResponse{}
	if err := proto.Unmarshal(wireResponse[len(before):], response); err != nil ||
		string(wireResponse[:len(before)]) != before {
		t.Fatalf("an answer that can't be read, which some proxies let pass: %v: %.500q", err, wireResponse)
	}
	if response.ProtoReflect().GetUnknown() != nil || len(wireResponse) < 16<<10 && response.Validate() != nil {
		t.Errorf("not valid for Envoy: %.500v", response)
	}
	return response
}
