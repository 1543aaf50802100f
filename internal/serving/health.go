package serving

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
)

// watchInterval is how often a watch looks for a change. Freshness ends as time passes, so there is no event to wait
// for.
const watchInterval = 250 * time.Millisecond

// Health is grpc.health.v1 for the server as a whole and for the authorization service: serving while the replica is
// ready.
type Health struct {
	healthv1.UnimplementedHealthServer

	// ready returns an error if proxies should not call this replica.
	ready   func() error
	stopped chan struct{}
	once    sync.Once
}

// NewHealth returns the service. Ready returns an error if proxies should not call this replica.
func NewHealth(ready func() error) *Health {
	return &Health{ready: ready, stopped: make(chan struct{})}
}

// stop makes the status NOT_SERVING, and ends every watch after it has sent that.
func (h *Health) stop() { h.once.Do(func() { close(h.stopped) }) }

func (h *Health) isStopped() bool {
	select {
	case <-h.stopped:
		return true
	default:
		return false
	}
}

func (h *Health) status(service string) (healthv1.HealthCheckResponse_ServingStatus, bool) {
	switch service {
	case "", extauthz.ServiceName:
	default:
		return healthv1.HealthCheckResponse_SERVICE_UNKNOWN, false
	}
	if h.isStopped() || h.ready() != nil {
		return healthv1.HealthCheckResponse_NOT_SERVING, true
	}
	return healthv1.HealthCheckResponse_SERVING, true
}

// Check implements healthv1.HealthServer.
func (h *Health) Check(_ context.Context, request *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	current, known := h.status(request.GetService())
	if !known {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return &healthv1.HealthCheckResponse{Status: current}, nil
}

// Watch implements healthv1.HealthServer.
func (h *Health) Watch(
	request *healthv1.HealthCheckRequest, stream grpc.ServerStreamingServer[healthv1.HealthCheckResponse],
) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	last := healthv1.HealthCheckResponse_UNKNOWN
	for {
		stopped := h.isStopped() // Read before the status, so that the last status sent is NOT_SERVING.
		if current, _ := h.status(request.GetService()); current != last {
			if err := stream.Send(&healthv1.HealthCheckResponse{Status: current}); err != nil {
				return err
			}
			last = current
		}
		if stopped {
			return status.Error(codes.Unavailable, "stopping")
		}
		select {
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		case <-h.stopped:
		case <-tick.C:
		}
	}
}
