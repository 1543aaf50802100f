package serving

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
	"github.com/nexuscommerce/apikey-operator/internal/surface/forward"
)

// BenchmarkHTTP sends one request after another over one connection, with a minimal client.
func BenchmarkHTTP(b *testing.B) {
	listener, err := Listen("http-bind-address", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := NewHTTP(listener, &routes{
		exact: map[string]http.Handler{"/auth/forward": forward.NewForward(refuser{}, clientip.Trust{})},
	}, nil)
	go func() { _ = server.Serve() }()
	defer stop(b, server)
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	request := []byte("GET /auth/forward HTTP/1.1\r\nHost: verifier\r\nUser-Agent: proxy/1.0\r\nAccept: */*\r\n" +
		"X-Forwarded-Host: shop.example.com\r\n" +
		"X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /api/products\r\nX-Forwarded-For: 192.0.2.7\r\n" +
		"Cookie: " + strings.Repeat("c", 300) + "\r\nX-Tenant-Id: 3714240b-2e06-4c35-8856-ccc1c096323e\r\n\r\n")
	answer := bufio.NewReader(conn)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		response, err := http.ReadResponse(answer, nil)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
	}
}

// BenchmarkGRPC sends many requests at a time over one connection.
func BenchmarkGRPC(b *testing.B) {
	listener, err := Listen("grpc-bind-address", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	health := NewHealth(func() error { return nil })
	server := NewGRPC(
		listener, extauthz.NewGRPC(refuser{}, clientip.Trust{}, false), health, insecure.NewCredentials(), false,
	)
	go func() { _ = server.Serve() }()
	defer stop(b, server)
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer connection.Close()
	client := authv3.NewAuthorizationClient(connection)
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.Check(b.Context(), &authv3.CheckRequest{}); err != nil {
				b.Error(err)
			}
		}
	})
}

func stop(b *testing.B, server *Server) {
	b.Helper()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = server.Drain(ended)
}
