package serving

import (
	"context"
	"errors"
	"net"
	"runtime/debug"
	"time"

	_ "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3" // What reflection tells of the service.
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
	// maxMessage is how long a CheckRequest may be, in bytes. What is longer is answered with an error before anything of ours
	// sees it; so it is far above the headers that Envoy lets a client send (60 KiB by default).
	maxMessage = 256 << 10
	// window is how much of a message a client may send before it is asked for more; connectionWindow, of all messages together.
	window, connectionWindow = 64 << 10, 256 << 10
	// streamWorkers are goroutines that checks are answered on, one after another: a new one for each would have its stack
	// grow each time, which takes longer than deciding. Checks beyond them get one each all the same.
	streamWorkers = 256
	// minPing is how often a proxy may ask whether its connection lives.
	minPing = 5 * time.Second
	// handshake is how long a connection may take to come about.
	handshake = 10 * time.Second
)

// GRPCBounds are those of the port that Envoy asks at over gRPC. docs/threat-model.md has what they add up to.
var GRPCBounds = limit.Bounds{
	Connections: 512,
	Rest:        192 << 10,
	Own:         64 << 10,
	Shared:      24 << 20,
	Header:      8 << 10,
	Streams:     256, // Envoy opens more connections beyond that.
	HTTP2:       true,
	Lasting:     true, // A watch of the health.
}

// lifetime is how long connections are kept. Envoy opens another in good time, perhaps to another replica: so those that were
// added get their share.
var lifetime = keepalive.ServerParameters{
	MaxConnectionIdle:     5 * time.Minute,
	MaxConnectionAge:      5 * time.Minute,
	MaxConnectionAgeGrace: 30 * time.Second,
	Time:                  time.Minute, // Whoever does not answer then has gone.
	Timeout:               20 * time.Second,
}

// survive refuses what our own code panics at, as net/http survives a handler's panic: one request must not end the process,
// and with it every other's answer. What the panic says may be of the request, so the log has only where it was.
func survive(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (response any, err error) {
	defer func() {
		if recover() == nil {
			return
		}
		logf.Log.WithName("grpc").Error(errPanic, "A check is refused", "method", info.FullMethod, "stack", string(debug.Stack()))
		response, err = nil, status.Error(codes.Internal, errPanic.Error())
		if _, ok := info.Server.(*extauthz.GRPC); ok {
			response, err = extauthz.Unchecked(), nil
		}
	}()
	return handle(ctx, request)
}

var errPanic = errors.New("the verifier has failed: please report this")

// counted are credentials that have what comes over a limit.Conn counted once it is decrypted.
type counted struct {
	credentials.TransportCredentials
}

// ServerHandshake implements credentials.TransportCredentials.
func (c counted) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
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
func (c counted) Clone() credentials.TransportCredentials {
	return counted{c.TransportCredentials.Clone()}
}

// NewGRPC answers Envoy.
func NewGRPC(
	listener net.Listener, authorization *extauthz.GRPC, health *Health, secure credentials.TransportCredentials, reflect bool,
	options ...limit.Option,
) *Server {
	s := grpc.NewServer(
		grpc.Creds(counted{secure}),
		grpc.ForceServerCodecV2(extauthz.Codec()),
		grpc.UnaryInterceptor(survive),
		grpc.ConnectionTimeout(handshake),
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
			health.stop() // Whoever watches would keep the server from ending.
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
