package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// checkLength is the length of the CheckRequest that servers are sent, in bytes.
const checkLength = 586

// grpcLoad measures the processor time of a check.
func grpcLoad(ctx context.Context, bed *testbed) error {
	dir, own, none, err := bed.pair(ctx)
	if err != nil {
		return err
	}
	check := envoyCheck(syntheticKey(servedKeys / 2))
	if err := passes(ctx, own.grpc, check); err != nil {
		return err
	}
	message, err := proto.Marshal(check)
	if err != nil {
		return err
	}
	if len(message) != checkLength {
		return fmt.Errorf("the CheckRequest has %d bytes", len(message))
	}
	// gRPC puts five bytes before a message: a flag for compression, and the length.
	file := filepath.Join(dir, "check")
	if err := os.WriteFile(file, append(binary.BigEndian.AppendUint32([]byte{0}, checkLength), message...),
		0o600); err != nil {
		return err
	}
	asking := func(p *process) *contender {
		return &contender{measure: func() (samples, error) {
			perRequest, err := cost(func() (answers, error) {
				return bed.overGRPC(ctx, p.grpc, file, "--clients="+strconv.Itoa(grpcConnections),
					"--max-concurrent-streams="+strconv.Itoa(grpcStreams), fmt.Sprintf("--duration=%dms", loadTime.Milliseconds()))
			}, p)
			return samples{perRequest}, err
		}}
	}
	base, allow := asking(none), asking(own)
	if err := alternate(bed.times(loadRounds), base, allow); err != nil {
		return err
	}
	allow.beside(bed.results, base, 0, "grpc: CPU of a check that passes, by grpc-go's constant OK", 0.65)
	return nil
}

// passes returns an error if a check is refused: h2load only sees the HTTP status, which is always 200.
func passes(ctx context.Context, address string, check *authv3.CheckRequest) error {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	response, err := authv3.NewAuthorizationClient(connection).Check(ctx, check)
	if err == nil && response.GetOkResponse() == nil {
		err = errors.New("a good key is refused")
	}
	return err
}

// envoyCheck returns what Envoy sends for a request of a key, with a length of checkLength.
func envoyCheck(s subject) *authv3.CheckRequest {
	peer := func(address string, port uint32) *authv3.AttributeContext_Peer {
		return &authv3.AttributeContext_Peer{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{
			SocketAddress: &corev3.SocketAddress{
				Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
			},
		}}}
	}
	const path = "/api/products?page=2&limit=50"
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source:      peer("127.0.0.1", 51234),
		Destination: peer("10.0.12.34", 8443),
		Request: &authv3.AttributeContext_Request{
			Time: timestamppb.New(time.Date(2026, time.November, 23, 12, 0, 0, 123456789, time.UTC)),
			Http: &authv3.AttributeContext_HttpRequest{
				Id: "13359530607844510314", Method: "GET", Path: path, Host: fixture.Host, Scheme: "https", Protocol: "HTTP/2",
				Headers: map[string]string{
					":authority": fixture.Host, ":method": "GET", ":path": path, ":scheme": "https",
					"accept": "application/json", "accept-encoding": "gzip", "user-agent": "warehouse/2.4",
					"authorization": "Bearer " + s.token, "x-tenant-id": s.tenantID,
					"x-forwarded-for": "203.0.113.7", "x-request-id": "5f2b0f9a-1c2d-4e6f-8a9b-0c1d2e3f4a5b",
				},
			},
		},
	}}
}
