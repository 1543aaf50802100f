package conformance_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// calls are questions about an API that speaks gRPC.
var calls = []row{{"a gRPC call, where the API speaks HTTP/2", call}}

// call starts the set-up once more, in front of an API that speaks gRPC.
func call(s *subject) (cell string) {
	if s.setUp.calls == nil {
		return notRun
	}
	s.t.Run("calls", func(t *testing.T) {
		v := &subject{environment: s.environment, t: t, setUp: s.setUp, besidePlane: s.besidePlane}
		cell = makeCalls(v)
		s.faults = append(s.faults, v.faults...)
	})
	return cell
}

// makeCalls makes a call with a key that may make it, and one with a revoked key.
func makeCalls(s *subject) string {
	api := startService(s.t)
	g := newGate(s.t, s.Verifier.Addresses)
	p := s.setUp.proxy().With(s.apart(s.setUp.calls)...)
	at, _ := p.Start(s.t, s.proxyEnvironment(g, s.besidePlane), api.upstream())
	connection, err := grpc.NewClient("passthrough:///"+at.HTTP2, grpc.WithAuthority(apiHost),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err.Error()
	}
	defer connection.Close()
	client := grpc_health_v1.NewHealthClient(connection)
	check := func(name string) codes.Code {
		ctx, cancel := context.WithTimeout(s.t.Context(), timeout)
		defer cancel()
		for _, line := range append(s.credentials(name), "X-Api-Key-Tenant: forged") {
			header, value, _ := strings.Cut(line, ": ")
			ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(header), value)
		}
		_, err := client.Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		return status.Code(err)
	}
	// The proxy may not know the API's address yet.
	program.WaitUntil(s.t, timeout, "an answer of "+s.setUp.name, func() error {
		if code := check("reader"); code == codes.Unavailable {
			return status.Error(code, "not yet")
		}
		return nil
	})
	code := check("reader")
	if code != codes.OK {
		return code.String()
	}
	if told := api.take(); !slices.Equal(told.Get("x-api-key-tenant"), []string{s.keys["reader"].tenant}) ||
		len(told.Get("authorization")) > 0 {
		s.fault("a call reaches the API with %q", told)
	}
	if code := check("revoked"); code == codes.OK || api.take() != nil {
		s.fault("a call with a revoked key passes: %v", code)
	}
	return "yes"
}

// service is an API that speaks gRPC.
type service struct {
	address string

	mu   sync.Mutex
	told metadata.MD
}

func startService(t *testing.T) *service {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &service{address: listener.Addr().String()}
	server := grpc.NewServer(grpc.UnaryInterceptor(s.note))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	t.Cleanup(server.Stop)
	go func() { _ = server.Serve(listener) }()
	return s
}

// note records the metadata of a call.
func (s *service) note(
	ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (any, error) {
	s.mu.Lock()
	s.told, _ = metadata.FromIncomingContext(ctx)
	s.mu.Unlock()
	return handle(ctx, request)
}

// take returns the metadata of the latest call, or nil if there was none since take was called before.
func (s *service) take() metadata.MD {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.told
	s.told = nil
	return told
}

// upstream returns the service as the upstream of every site.
func (s *service) upstream() *proxies.Upstream {
	up := &proxies.Upstream{Addresses: map[string]string{}, HTTP2: true}
	for i := range proxies.Sites {
		up.Addresses[proxies.Sites[i].Name] = s.address
	}
	return up
}
