package serving

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// blockingDecider allows a request once the test lets it.
type blockingDecider struct {
	asked, answer chan struct{}
}

func (d *blockingDecider) Decide(string, *verify.Request) verify.Decision {
	d.asked <- struct{}{}
	<-d.answer
	return verify.Decision{Outcome: verify.Allow}
}

func (d *blockingDecider) Refuse(string, verify.Reason) verify.Decision { return d.Decide("", nil) }

// testServer is a gRPC server, and a connection to it.
type testServer struct {
	*blockingDecider

	server     *Server
	health     *Health
	connection *grpc.ClientConn
	// fault is why the server is not ready, or nil.
	fault error
}

func newTestServer(t *testing.T, reflect bool) *testServer {
	t.Helper()
	s := &testServer{blockingDecider: &blockingDecider{asked: make(chan struct{}, 1), answer: make(chan struct{})}}
	listener, err := Listen("grpc-bind-address", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.health = NewHealth(func() error { return s.fault })
	s.server = NewGRPC(
		listener, extauthz.NewGRPC(s.blockingDecider, clientip.Trust{}, false), s.health, insecure.NewCredentials(), reflect,
	)
	go func() { _ = s.server.Serve() }()
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		cancel()
		_ = s.server.Drain(ended)
	})
	s.connection, err = grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.connection.Close() })
	return s
}

// check sends a check in the background, waits until the server works on it, and returns where its result will come.
func (s *testServer) check(t *testing.T) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := authv3.NewAuthorizationClient(s.connection).Check(t.Context(), &authv3.CheckRequest{})
		done <- err
	}()
	<-s.asked
	return done
}

// broken is a decider that panics.
type broken struct{}

func (broken) Decide(string, *verify.Request) verify.Decision { panic("a fault of ours") }
func (broken) Refuse(string, verify.Reason) verify.Decision   { panic("a fault of ours") }

// TestPanicIsADenial checks that a panic neither ends the process nor causes an error, which Envoy may let pass.
// Without recoverPanic, the test process ends.
func TestPanicIsADenial(t *testing.T) {
	s := newTestServer(t, false)
	listener, err := Listen("grpc-bind-address", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewGRPC(
		listener, extauthz.NewGRPC(broken{}, clientip.Trust{}, false), s.health, insecure.NewCredentials(), false,
	)
	go func() { _ = server.Serve() }()
	t.Cleanup(func() { _ = server.Drain(context.WithoutCancel(t.Context())) })
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	for range 2 {
		response, err := authv3.NewAuthorizationClient(connection).Check(t.Context(), &authv3.CheckRequest{})
		if err != nil || response.GetDeniedResponse().GetStatus().GetCode() != typev3.StatusCode_ServiceUnavailable {
			t.Errorf("answered %v, error %v", response, err)
		}
	}
}

func TestHealth(t *testing.T) {
	for name, test := range map[string]struct {
		service string
		fault   error
		stopped bool
		want    healthv1.HealthCheckResponse_ServingStatus
		code    codes.Code
	}{
		"as a whole": {"", nil, false, healthv1.HealthCheckResponse_SERVING, codes.OK},
		"the service": {
			"envoy.service.auth.v3.Authorization", nil, false, healthv1.HealthCheckResponse_SERVING, codes.OK,
		},
		"not fresh":       {"", errors.New("stale"), false, healthv1.HealthCheckResponse_NOT_SERVING, codes.OK},
		"stopped":         {"", nil, true, healthv1.HealthCheckResponse_NOT_SERVING, codes.OK},
		"another service": {"envoy.service.auth.v2.Authorization", nil, false, 0, codes.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestServer(t, false)
			s.fault = test.fault
			if test.stopped {
				s.health.stop()
			}
			response, err := healthv1.NewHealthClient(s.connection).Check(
				t.Context(), &healthv1.HealthCheckRequest{Service: test.service},
			)
			if status.Code(err) != test.code || response.GetStatus() != test.want {
				t.Errorf("status %s, error %v", response.GetStatus(), err)
			}
		})
	}
}

// TestDrain checks that a check under way is answered, and that watches end, after they have sent NOT_SERVING.
func TestDrain(t *testing.T) {
	s := newTestServer(t, false)
	watch, err := healthv1.NewHealthClient(s.connection).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if response, err := watch.Recv(); err != nil || response.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("status %s, error %v", response.GetStatus(), err)
	}
	checked := s.check(t)
	drained := make(chan error, 1)
	go func() { drained <- s.server.Drain(context.WithoutCancel(t.Context())) }()
	if response, err := watch.Recv(); err != nil || response.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("status %s, error %v", response.GetStatus(), err)
	}
	if _, err := watch.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the watch goes on: %v", err)
	}
	select {
	case err := <-drained:
		t.Fatalf("ended while a check is under way: %v", err)
	default:
	}
	close(s.answer)
	if err := <-checked; err != nil {
		t.Errorf("the check under way: %v", err)
	}
	if err := <-drained; err != nil {
		t.Errorf("draining: %v", err)
	}
}

// TestDrainEnds checks that a check that takes too long is abandoned.
func TestDrainEnds(t *testing.T) {
	s := newTestServer(t, false)
	checked := s.check(t)
	ended, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- s.server.Drain(ended) }()
	if err := <-checked; status.Code(err) != codes.Unavailable {
		t.Errorf("the check: %v", err)
	}
	close(s.answer) // Draining waits for handlers, which must not outlive the server.
	if err := <-drained; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("draining: %v", err)
	}
}

func TestReflection(t *testing.T) {
	for _, reflect := range []bool{true, false} {
		s := newTestServer(t, reflect)
		stream, err := reflectionv1.NewServerReflectionClient(s.connection).ServerReflectionInfo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = stream.Send(
			&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}},
		)
		if err != nil && !errors.Is(err, io.EOF) { // EOF means that the call has ended; Recv returns why.
			t.Fatal(err)
		}
		response, err := stream.Recv()
		if !reflect {
			if status.Code(err) != codes.Unimplemented {
				t.Errorf("without reflection: %v, error %v", response, err)
			}
			continue
		}
		if err != nil || !strings.Contains(response.String(), "envoy.service.auth.v3.Authorization") {
			t.Errorf("services %v, error %v", response, err)
		}
	}
}
