package serving

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"time"

	_ "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3" // Reflection needs the service's descriptor.
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/nexuscommerce/apikey-operator/internal/limit"
	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
)

const (
	// maxMessage is how long a CheckRequest may be, in bytes. gRPC answers a longer one with an error before our code sees
	// it, so the limit is far above the headers that Envoy accepts from a client (60 KiB by default).
	maxMessage = 256 << 10
	// window is how much of a message a client may send before flow control stops it, and connectionWindow how much of all
	// messages together.
	window, connectionWindow = 64 << 10, 256 << 10
	// streamWorkers is the number of goroutines that answer checks. A new goroutine for each check would have to grow its
	// stack, which takes longer than deciding. Checks beyond these workers still get goroutines of their own.
	streamWorkers = 256
	// minPing is the shortest interval of a proxy's keepalive pings; a proxy that pings more often is disconnected. The
	// guides' Envoy pings every second, so that it soon notices a frozen replica.
	minPing = 500 * time.Millisecond
	// handshakeTimeout is how long setting up a connection may take.
	handshakeTimeout = 10 * time.Second
)

// GRPCBounds are those of the port for Envoy over gRPC. docs/threat-model.md adds them up.
var GRPCBounds = limit.Bounds{
	Connections: 512,
	Rest:        192 << 10,
	Own:         64 << 10,
	Shared:      24 << 20,
	Header:      8 << 10,
	Streams:     256, // For more, Envoy opens another connection.
	HTTP2:       true,
	Lasting:     true, // Watches of the health service last.
}

// lifetime limits the age of connections. Envoy replaces them in time, perhaps by one to another replica, so that new
// replicas get their share.
var lifetime = keepalive.ServerParameters{
	MaxConnectionIdle:     5 * time.Minute,
	MaxConnectionAge:      5 * time.Minute,
	MaxConnectionAgeGrace: 30 * time.Second,
	Time:                  time.Minute, // A client that doesn't answer the ping is gone.
	Timeout:               20 * time.Second,
}

// recoverPanic refuses a request whose handler panics, as net/http recovers from a handler's panic: one request must
// not end the process. The panic's value may contain parts of the request, so only the stack is logged.
func recoverPanic(
	ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler,
) (response any, err error) {
	defer func() {
		if recover() == nil {
			return
		}
		logf.Log.WithName("grpc").Error(
			errPanic, "A check is refused", "method", info.FullMethod, "stack", string(debug.Stack()),
		)
		response, err = nil, status.Error(codes.Internal, errPanic.Error())
		if _, ok := info.Server.(*extauthz.GRPC); ok {
			response, err = extauthz.Unchecked(), nil
		}
	}()
	return handle(ctx, request)
}

var errPanic = errors.New("the verifier has failed: please report this")

// countedCredentials are credentials that make a limit.Conn count decrypted bytes.
type countedCredentials struct {
	credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (c countedCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, ok := raw.(*limit.Conn)
	if !ok {
		return c.TransportCredentials.ServerHandshake(raw)
	}
	var info credentials.AuthInfo
	err := conn.Secure(func(raw net.Conn) (secured net.Conn, err error) {
		secured, info, err = c.TransportCredentials.ServerHandshake(raw)
		return secured, err
	})
	return conn, info, err
}

// Clone implements credentials.TransportCredentials.
func (c countedCredentials) Clone() credentials.TransportCredentials {
	return countedCredentials{c.TransportCredentials.Clone()}
}

// NewGRPC returns a server of Envoy's authorization service and the health service.
func NewGRPC(
	listener net.Listener, authorization *extauthz.GRPC, health *Health, secure credentials.TransportCredentials,
	reflect bool, options ...limit.Option,
) *Server {
	s := grpc.NewServer(
		grpc.Creds(countedCredentials{secure}),
		grpc.ForceServerCodecV2(extauthz.Codec()),
		grpc.UnaryInterceptor(recoverPanic),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxHeaderListSize(uint32(GRPCBounds.Header)),     //nolint:gosec // It is a constant.
		grpc.MaxConcurrentStreams(uint32(GRPCBounds.Streams)), //nolint:gosec // So is this.
		grpc.StaticStreamWindowSize(window),
		grpc.StaticConnWindowSize(connectionWindow),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.KeepaliveParams(lifetime),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
	)
	authorization.Register(s)
	healthv1.RegisterHealthServer(s, health)
	if reflect {
		reflection.Register(s)
	}
	return &Server{
		listener: limit.New(listener, GRPCBounds, options...),
		serve:    s.Serve,
		drain: func(ctx context.Context) error {
			health.stop() // Otherwise watches would keep the server from ending.
			done := make(chan struct{})
			go func() {
				s.GracefulStop()
				close(done)
			}()
			select {
			case <-done:
				return nil
			case <-ctx.Done():
				s.Stop()
				<-done
				return ctx.Err()
			}
		},
	}
}
