package serving

import (
	"context"
	"net/http"
	"testing"
)

// TestPlainTextSpeaksHTTP2 checks that Envoy may ask by HTTP/2 without TLS, as others may by HTTP/1.
func TestPlainTextSpeaksHTTP2(t *testing.T) {
	listener, err := Listen("http-bind-address", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewHTTP(listener, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), nil)
	go func() { _ = server.Serve() }()
	defer func() { _ = server.Drain(context.WithoutCancel(t.Context())) }()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		transport := &http.Transport{Protocols: &http.Protocols{}}
		transport.Protocols.SetHTTP1(protocol == "HTTP/1.1")
		transport.Protocols.SetUnencryptedHTTP2(protocol == "HTTP/2.0")
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		_ = response.Body.Close()
		if response.Proto != protocol {
			t.Errorf("%s, want %s", response.Proto, protocol)
		}
		transport.CloseIdleConnections()
	}
}
