package proxies

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

// StandIn starts a server in place of the verifier, and returns its address. It speaks HTTP and gRPC there, in plain
// text if it has no certificate. Answers may be Pass and Fail.
func StandIn(t testing.TB, certificate [2]string, answer http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(answer)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true
	if certificate[0] == "" {
		server.Config.Protocols = &http.Protocols{}
		server.Config.Protocols.SetHTTP1(true)
		server.Config.Protocols.SetUnencryptedHTTP2(true)
		server.Start()
	} else {
		loaded, err := tls.LoadX509KeyPair(certificate[0], certificate[1])
		if err != nil {
			t.Fatal(err)
		}
		server.TLS = &tls.Config{Certificates: []tls.Certificate{loaded}, MinVersion: tls.VersionTLS12}
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	_, address, _ := strings.Cut(server.URL, "://")
	return address
}

// isGRPC reports whether a request is a gRPC call of Envoy's.
func isGRPC(r *http.Request) bool { return r.Header.Get("Content-Type") == "application/grpc" }

// Pass allows every request, with the identity of a caller named admin.
func Pass(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if !isGRPC(r) {
		for _, name := range []string{"Id", "Name", "Scopes", "Tenant"} {
			w.Header().Set("X-Api-Key-"+name, "admin")
		}
		return
	}
	message, err := proto.Marshal(&authv3.CheckResponse{
		Status:       &status.Status{},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{}},
	})
	if err != nil {
		panic(err)
	}
	// A message preceded by its length, and the status after it.
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status")
	_, _ = w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...))
	w.Header().Set("Grpc-Status", "0")
}

// Fail answers that the server is unavailable: 503, and UNAVAILABLE over gRPC.
func Fail(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if isGRPC(r) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "14")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
}
