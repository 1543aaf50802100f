package extauthz_test

import (
	"context"
	"slices"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
)

// TestTraceparent checks that the trace of the proxy's own call is continued, or else that of the client's request.
func TestTraceparent(t *testing.T) {
	const own, clients = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-11111111111111111111111111111111-2222222222222222-01"
	for name, c := range map[string]struct {
		call    []string
		headers map[string]string
		want    []string
	}{
		"none":          {nil, nil, nil},
		"the call's":    {[]string{"traceparent", own}, nil, []string{own}},
		"the request's": {nil, map[string]string{"traceparent": clients}, []string{clients}},
		"both":          {[]string{"traceparent", own}, map[string]string{"traceparent": clients}, []string{own}},
	} {
		r := &recorder{decision: allowed}
		ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs(c.call...))
		wire, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
				Host: "api.example.com", Method: "GET", Path: "/api", Headers: c.headers,
			}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		checkWire(t, extauthz.NewGRPC(r, newTrust(t), false), ctx, wire)
		if got := r.request.Traceparent; !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
