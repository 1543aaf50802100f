package extauthz

import (
	"context"

	"google.golang.org/grpc"
	grpcmetadata "google.golang.org/grpc/metadata"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	// ServiceName is the name of the gRPC service.
	ServiceName = "envoy.service.auth.v3.Authorization"

	surfaceGRPC = "grpc"
)

// GRPC is envoy.service.auth.v3.Authorization. Its server must use Codec.
type GRPC struct {
	decider Decider
	trust   clientip.Trust
	// always is the encoded list of the headers that are removed from every allowed request.
	always []byte
}

// NewGRPC returns the service. keepToken leaves the token on allowed requests.
func NewGRPC(decider Decider, trust clientip.Trust, keepToken bool) *GRPC {
	g := &GRPC{decider: decider, trust: trust}
	for _, name := range alwaysRemoved(keepToken) {
		g.always = appendText(g.always, okToRemove, name)
	}
	return g
}

// Register adds the service to a server.
func (g *GRPC) Register(s grpc.ServiceRegistrar) {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: ServiceName,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Check", Handler: g.handle}},
		Metadata:    "envoy/service/auth/v3/external_auth.proto",
	}, g)
}

// checkMethod is the method's name for interceptors.
const checkMethod = "/" + ServiceName + "/Check"

// handle answers a call.
func (g *GRPC) handle(
	_ any, ctx context.Context, //nolint:revive // The order is gRPC's.
	decode func(any) error, intercept grpc.UnaryServerInterceptor,
) (any, error) {
	check := &wireRequest{}
	if err := decode(check); err != nil {
		return nil, err
	}
	answer := func(ctx context.Context, _ any) (any, error) {
		r := newResponse()
		*r = g.Check(ctx, *r, check.wire)
		return r, nil
	}
	if intercept == nil {
		return answer(ctx, check)
	}
	return intercept(ctx, check, &grpc.UnaryServerInfo{Server: g, FullMethod: checkMethod}, answer)
}

// Check appends the encoded CheckResponse to a CheckRequest. It refuses a request that can't be decoded. gRPC itself
// would answer that with an error, which may pass, and a client could cause one, by a header that is not UTF-8.
//
// Everything about the client's request is in the message. Of the call's own metadata, only the trace is read.
func (g *GRPC) Check(ctx context.Context, response []byte, check string) []byte {
	request, ok := g.read(check)
	if !ok {
		return appendRefusal(response, g.decider.Refuse(surfaceGRPC, verify.ReasonMisconfigured), request.Host)
	}
	if own := grpcmetadata.ValueFromIncomingContext(ctx, "traceparent"); len(own) > 0 {
		request.Traceparent = own // Envoy's own span rather than the client's.
	}
	decision := g.decider.Decide(surfaceGRPC, request)
	if decision.Outcome != verify.Allow {
		return appendRefusal(response, decision, request.Host)
	}
	return g.appendPass(response, decision)
}

// Unchecked returns the answer to a request that could not be decided.
func Unchecked() any {
	r := newResponse()
	*r = appendRefusal(*r, verify.Decision{}, "")
	return r
}
