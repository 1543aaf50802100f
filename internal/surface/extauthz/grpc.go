package extauthz

import (
	"context"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	grpcmetadata "google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/nexuscommerce/apikey-operator/internal/answer"
	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const surfaceGRPC = "grpc"

// GRPC is envoy.service.auth.v3.Authorization. It is to be served with Codec.
type GRPC struct {
	authv3.UnimplementedAuthorizationServer

	decider   Decider
	trust     clientip.Trust
	keepToken bool
}

// NewGRPC returns the service. keepToken leaves the token on requests that pass.
func NewGRPC(decider Decider, trust clientip.Trust, keepToken bool) *GRPC {
	return &GRPC{decider: decider, trust: trust, keepToken: keepToken}
}

// Check implements authv3.AuthorizationServer. It never returns an error. What there is to know about the client's request is
// in the message; of the call's own metadata only the trace is read that it is part of.
func (g *GRPC) Check(ctx context.Context, check *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	request, ok := g.read(check)
	if !ok {
		return refusal(g.decider.Refuse(surfaceGRPC, verify.ReasonMisconfigured), request.Host), nil
	}
	if own := grpcmetadata.ValueFromIncomingContext(ctx, "traceparent"); len(own) > 0 {
		request.Traceparent = own // Envoy's own span, rather than what its client sent.
	}
	decision := g.decider.Decide(surfaceGRPC, &request)
	if decision.Outcome != verify.Allow {
		return refusal(decision, request.Host), nil
	}
	return g.pass(decision), nil
}

// Unchecked is the answer to a request that could not be decided.
func Unchecked() *authv3.CheckResponse { return refusal(verify.Decision{}, "") }

// pass lets a request through to the upstream, with the identity headers that have a value, and says who calls to whatever
// else runs in the proxy.
func (g *GRPC) pass(decision verify.Decision) *authv3.CheckResponse {
	var identity []*corev3.HeaderValueOption
	for _, header := range answer.Identity(decision) {
		if header.Value != "" {
			identity = append(identity, overwrite(header))
		}
	}
	return &authv3.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(codes.OK)},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers:         identity,
			HeadersToRemove: toRemove(decision, g.keepToken),
		}},
		DynamicMetadata: metadata(decision),
	}
}

// metadata is what Envoy's rate limits, access logs and other filters may know of a request that passes. A request that
// passes as nobody has none.
func metadata(decision verify.Decision) *structpb.Struct {
	grant := decision.Grant
	if grant == nil {
		return nil
	}
	scopes := &structpb.ListValue{}
	for scope := range strings.FieldsSeq(grant.ScopesHeader) {
		scopes.Values = append(scopes.Values, structpb.NewStringValue(scope))
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"key_id":   structpb.NewStringValue(grant.CredentialID),
		"key_name": structpb.NewStringValue(grant.Name),
		"tenant":   structpb.NewStringValue(decision.TenantID),
		"scopes":   structpb.NewListValue(scopes),
	}}
}

// refusal has the proxy answer the client itself. It is a denial whatever the reason: an error would be for the proxy's
// configuration to judge, and may pass there.
func refusal(decision verify.Decision, host string) *authv3.CheckResponse {
	code, status := codes.PermissionDenied, typev3.StatusCode_Forbidden
	switch decision.Outcome {
	case verify.Unauthorized:
		code, status = codes.Unauthenticated, typev3.StatusCode_Unauthorized
	case verify.Unavailable:
		// Over HTTP most proxies would take this for a fault of the verifier. Here it is only what the client gets.
		status = typev3.StatusCode_ServiceUnavailable
	case verify.Forbidden, verify.Allow:
	}
	headers := answer.Refusal(decision, host)
	options := make([]*corev3.HeaderValueOption, 0, len(headers))
	for _, header := range headers {
		options = append(options, overwrite(header))
	}
	return &authv3.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(code)},
		HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status:  &typev3.HttpStatus{Code: status},
			Headers: options,
			Body:    decision.Body(),
		}},
	}
}

// overwrite is a header that replaces any of the same name. Older versions of Envoy do so unless they are told to append,
// and don't know append_action; newer ones would add to the client's own without it.
func overwrite(header answer.Header) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: header.Name, Value: header.Value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}
