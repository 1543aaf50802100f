package bypass_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// TestPromises checks what the guides promise about each proxy apart from what the corpus tests.
func TestPromises(t *testing.T) {
	b := newTestbed(t)
	all := allProxies()
	for _, name := range proxies.Names(all) {
		p := all[name]
		if p.Generated || p.OnlyProducts {
			continue // Configurations that a controller makes are here only for the corpus.
		}
		t.Run(name, func(t *testing.T) {
			f := &front{testbed: b, upstream: proxies.StartUpstream(t), oracle: newOracle()}
			at, _ := p.Start(t, b.environment(), f.upstream)
			f.address = at.HTTP1
			if p.Guide != "nginx" { // The guide says what a location for them needs.
				t.Run("WebSocket", f.webSocket)
			}
			t.Run("allowlists", func(t *testing.T) { f.allowlists(t, p.HidesClient) })
			t.Run("many headers", func(t *testing.T) { f.manyHeaders(t, p.Bounded) })
			t.Run("raw bytes in a query", f.rawQuery)
			t.Run("no host", f.noHost)
			if at.Plain != "" {
				t.Run("plain text", func(t *testing.T) { f.plainText(t, at.Plain) })
			}
			if isEnvoy := p.Program == "" && p.Guide != "traefik"; isEnvoy {
				t.Run("two lengths", f.twoLengths)
			}
			f.check(t)
		})
	}
}

// ask sends a request from an address. It returns the answer, its body, and what has reached the upstream.
func (f *front) ask(t *testing.T, from, request string) (*http.Response, string, []*proxies.Received) {
	t.Helper()
	f.upstream.Take()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(t.Context(), "tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(timeout))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body []byte
	if response.StatusCode != http.StatusSwitchingProtocols {
		body, _ = io.ReadAll(response.Body) // The proxy may close the connection before the end.
	}
	return response, string(body), f.upstream.Take()
}

// get returns a request with a token.
func (f *front) get(path, token string, headers ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: api.example.com\r\nX-Tenant-ID: " + acme + "\r\nAuthorization: Bearer " +
		f.values[token] + "\r\n" + strings.Join(append(headers, "", ""), "\r\n")
}

// webSocket checks that a handshake reaches the upstream with a good key, and not with a revoked one.
func (f *front) webSocket(t *testing.T) {
	handshake := []string{
		"Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}
	_, _, seen := f.ask(t, clientAddress, f.get("/api/products", "token", handshake...))
	if len(seen) != 1 || !slices.Equal(seen[0].Values("upgrade"), []string{"websocket"}) {
		t.Errorf("with a good key %d requests reach the upstream, none of them a handshake", len(seen))
	}
	if len(seen) > 0 && !slices.Equal(seen[0].Values("x-api-key-id"), []string{"Reader01"}) {
		t.Errorf("the handshake reaches the upstream as %q", seen[0].Values("x-api-key-id"))
	}
	response, _, seen := f.ask(t, clientAddress, f.get("/api/products", "revoked", handshake...))
	if response.StatusCode != http.StatusUnauthorized || len(seen) > 0 {
		t.Errorf("a handshake with a revoked key is answered %d", response.StatusCode)
	}
}

// allowlists checks that an allowlist is applied to the address that a client connects from, whatever the client writes
// into headers.
func (f *front) allowlists(t *testing.T, hidden bool) {
	for _, from := range []string{clientAddress, "127.0.0.9", "127.0.0.1"} { // The last one is a proxy's, and trusted.
		for _, headers := range proxies.Spoofed(clientAddress) {
			want := http.StatusForbidden
			if from == clientAddress && !hidden {
				want = http.StatusOK
			}
			response, body, _ := f.ask(t, from, f.get("/api/products", "nearby", headers...))
			if response.StatusCode != want {
				t.Errorf("from %s with %q: %d %s, want %d", from, headers, response.StatusCode, body, want)
			}
		}
	}
}

// manyHeaders checks that the verifier does not limit the headers that a client may send.
func (f *front) manyHeaders(t *testing.T, bounded bool) {
	var headers []string
	for i := range 95 {
		headers = append(headers, fmt.Sprintf("X-Many-%d: 1", i))
	}
	for n, passes := range map[int]bool{70: true, 95: !bounded} {
		response, body, seen := f.ask(t, clientAddress, f.get("/api/products", "token", slices.Clip(headers[:n])...))
		if passes && (response.StatusCode != http.StatusOK || len(seen) != 1) ||
			!passes && (response.StatusCode < http.StatusBadRequest || len(seen) > 0) {
			t.Errorf("%d headers: %d %s", n, response.StatusCode, body)
		}
	}
}

// rawQuery checks that a query with letters that the client did not encode passes, or that the proxy itself reports
// what is wrong.
func (f *front) rawQuery(t *testing.T) {
	response, body, seen := f.ask(t, clientAddress, f.get("/api/products?q=caf\xc3\xa9", "token"))
	passes := response.StatusCode == http.StatusOK && len(seen) == 1
	if !passes && (response.StatusCode != http.StatusBadRequest || strings.Contains(body, "reason")) {
		t.Errorf("%d %s", response.StatusCode, body)
	}
	response, body, _ = f.ask(t, clientAddress, f.get("/api/products?q=%63af\xe9", "token"))
	byNginx := response.StatusCode == http.StatusForbidden && strings.Contains(response.Header.Get("Server"), "nginx")
	if response.StatusCode != http.StatusBadRequest && !strings.Contains(body, "query_malformed") && !byNginx {
		t.Errorf("%d %s", response.StatusCode, body)
	}
}

// noHost checks that requests of HTTP/1.0 clients that name no host don't pass. Load balancers send such requests to
// see whether the proxy is alive.
func (f *front) noHost(t *testing.T) {
	response, body, seen := f.ask(t, clientAddress, "OPTIONS / HTTP/1.0\r\n\r\n")
	if response.StatusCode < http.StatusBadRequest || strings.Contains(body, "proxy_misconfigured") || len(seen) > 0 {
		t.Errorf("%d %s", response.StatusCode, body)
	}
}

// plainText checks that nothing passes where the proxy listens without TLS.
func (f *front) plainText(t *testing.T, address string) {
	f.upstream.Take()
	status, err := send(t.Context(), address, f.request("token"), timeout)
	if seen := f.upstream.Take(); err != nil || status < http.StatusMultipleChoices || len(seen) > 0 {
		t.Errorf("%d, %v, and %d requests reach the upstream", status, err, len(seen))
	}
}

// twoLengths checks that a request whose end can be told in two ways is refused.
func (f *front) twoLengths(t *testing.T) {
	request := f.get("/api/products", "token", "Content-Length: 5", "Transfer-Encoding: chunked") + "0\r\n\r\n"
	response, _, seen := f.ask(t, clientAddress, request)
	if response.StatusCode != http.StatusBadRequest || len(seen) > 0 {
		t.Errorf("%d, and %d requests reach the upstream", response.StatusCode, len(seen))
	}
}
