package extauthz

import (
	"context"

	"google.golang.org/grpc"
	grpcmetadata "google.golang.org/grpc/metadata"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	// ServiceName is what Envoy asks for over gRPC.
	ServiceName = "envoy.service.auth.v3.Authorization"

	surfaceGRPC = "grpc"
)

// GRPC is envoy.service.auth.v3.Authorization. It is to be served with Codec.
type GRPC struct {
	decider Decider
	trust   clientip.Trust
	// always are the names of the headers that are removed from every request that passes, as they stand in an answer.
	always []byte
}

// NewGRPC returns the service. keepToken leaves the token on requests that pass.
func NewGRPC(decider Decider, trust clientip.Trust, keepToken bool) *GRPC {
	g := &GRPC{decider: decider, trust: trust}
	for _, name := range alwaysRemoved(keepToken) {
		g.always = appendText(g.always, okToRemove, name)
	}
	return g
}

// Register has a server answer for the service.
func (g *GRPC) Register(s grpc.ServiceRegistrar) {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: ServiceName,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Check", Handler: g.handle}},
		Metadata:    "envoy/service/auth/v3/external_auth.proto",
	}, g)
}

// checkMethod is what interceptors are told.
const checkMethod = "/" + ServiceName + "/Check"

// handle answers a call.
func (g *GRPC) handle(_ any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // The order is gRPC's.
	check := &request{}
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

// Check appends the CheckResponse to a CheckRequest, both in protobuf's encoding. It refuses what can't be decoded: gRPC by
// itself would answer with an error, which may pass, and a client could bring that about, because what isn't UTF-8 in a
// header is no string in a message.
//
// What there is to know about the client's request is in the message; of the call's own metadata only the trace is read that
// it is part of.
func (g *GRPC) Check(ctx context.Context, response []byte, check string) []byte {
	request, ok := g.read(check)
	if !ok {
		return appendRefusal(response, g.decider.Refuse(surfaceGRPC, verify.ReasonMisconfigured), request.Host)
	}
	if own := grpcmetadata.ValueFromIncomingContext(ctx, "traceparent"); len(own) > 0 {
		request.Traceparent = own // Envoy's own span, rather than what its client sent.
	}
	decision := g.decider.Decide(surfaceGRPC, request)
	if decision.Outcome != verify.Allow {
		return appendRefusal(response, decision, request.Host)
	}
	return g.appendPass(response, decision)
}

// Unchecked is the answer to a request that could not be decided.
func Unchecked() any {
	r := newResponse()
	*r = appendRefusal(*r, verify.Decision{}, "")
	return r
}
