package handover_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// envoy is a client that acts as Envoy does: it has a connection to one of the Service's endpoints, and opens another
// when that endpoint sends GOAWAY. Requests that were sent before are answered.
type envoy struct {
	connection *grpc.ClientConn
	request    *authv3.CheckRequest
	asked      *atomic.Int64
}

func newEnvoy(t *testing.T, s *service, asked *atomic.Int64, issued *fixture.Issued) *envoy {
	t.Helper()
	connection, err := grpc.NewClient("passthrough:///verifier", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.connect(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	return &envoy{connection: connection, asked: asked, request: &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{Address: "203.0.113.7"},
		}}},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: http.MethodGet, Scheme: "https", Host: fixture.Host, Path: "/api/products",
			Headers: map[string]string{"authorization": "Bearer " + issued.Token, "x-tenant-id": issued.Tenant.Spec.ID},
		}},
	}}}
}

func (e *envoy) ask(ctx context.Context) error {
	response, err := authv3.NewAuthorizationClient(e.connection).Check(ctx, e.request)
	if err != nil {
		return fmt.Errorf("a Check: %w", err)
	}
	if code := codes.Code(response.GetStatus().GetCode()); code != codes.OK {
		return fmt.Errorf("a Check is answered with %s: %v", code, response.GetDeniedResponse().GetBody())
	}
	e.asked.Add(1)
	return nil
}

func (e *envoy) close() { _ = e.connection.Close() }
