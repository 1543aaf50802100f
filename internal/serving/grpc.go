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

	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
)

const (
	// maxMessage is how long a CheckRequest may be, in bytes. What is longer is answered with an error before anything of ours
	// sees it; so it is far above the headers that Envoy lets a client send (60 KiB by default).
	maxMessage = 4 << 20
	// maxStreams is how many checks a connection may have under way. Envoy opens more connections beyond that.
	maxStreams = 1000
	// streamWorkers are goroutines that checks are answered on, one after another: a new one for each would have its stack
	// grow each time, which takes longer than deciding. Checks beyond them get one each all the same.
	streamWorkers = 256
	// minPing is how often a proxy may ask whether its connection lives.
	minPing = 5 * time.Second
	// handshake is how long a connection may take to come about.
	handshake = 10 * time.Second
)

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

// NewGRPC answers Envoy.
func NewGRPC(listener net.Listener, authorization *extauthz.GRPC, health *Health, secure credentials.TransportCredentials, reflect bool) *Server {
	s := grpc.NewServer(
		grpc.Creds(secure),
		grpc.ForceServerCodecV2(extauthz.Codec()),
		grpc.UnaryInterceptor(survive),
		grpc.ConnectionTimeout(handshake),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
	)
	authorization.Register(s)
	healthv1.RegisterHealthServer(s, health)
	if reflect {
		reflection.Register(s)
	}
	return &Server{
		listener: listener,
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
