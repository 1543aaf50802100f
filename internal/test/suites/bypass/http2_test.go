package bypass_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// field is a header field of HTTP/2.
type field struct{ name, value string }

// http2Case is a request over HTTP/2: its fields, in the order in which they are sent.
type http2Case struct {
	id, source string
	fields     []field
}

// http2Corpus returns the hostile requests over HTTP/2 and the harmless ones.
func http2Corpus(values map[string]string) (hostile, harmless []http2Case) {
	key := []field{{"authorization", "Bearer " + values["token"]}, {"x-tenant-id", values["tenantid"]}}
	request := func(method, authority, path string, more ...field) []field {
		return append([]field{{":method", method}, {":scheme", "http"}, {":authority", authority}, {":path", path}}, more...)
	}
	const admin, open, api = "admin.example.com", "open.example.com", "api.example.com"
	for _, method := range []string{"GET", "DELETE"} {
		bare := []field{{":method", method}, {":scheme", "http"}, {":path", "/users"}}
		for id, fields := range map[string][]field{
			"authority-admin-host-open":  request(method, admin, "/users", field{"host", open}),
			"authority-open-host-admin":  request(method, open, "/users", field{"host", admin}),
			"authority-admin-host-api":   request(method, admin, "/users", append([]field{{"host", api}}, key...)...),
			"authority-api-host-admin":   request(method, api, "/about", append([]field{{"host", admin}}, key...)...),
			"authority-open-two-hosts":   request(method, open, "/users", field{"host", open}, field{"host", admin}),
			"two-authorities":            request(method, open, "/users", field{":authority", admin}),
			"two-authorities-turned":     request(method, admin, "/users", field{":authority", open}),
			"authority-late":             append(append([]field{}, bare...), field{"host", open}, field{":authority", admin}),
			"no-authority":               append(append([]field{}, bare...), field{"host", admin}),
			"no-authority-two-hosts":     append(append([]field{}, bare...), field{"host", open}, field{"host", admin}),
			"no-host-at-all":             bare,
			"authority-blank-host-admin": request(method, "", "/users", field{"host", admin}),
			"authority-userinfo":         request(method, open+"@"+admin, "/users"),
			"authority-userinfo-turned":  request(method, admin+"@"+open, "/users"),
			"authority-case":             request(method, "ADMIN.example.com", "/users", field{"host", open}),
			"authority-port":             request(method, admin+":80", "/users", field{"host", open}),
			"authority-dot":              request(method, admin+".", "/users", field{"host", open}),
			"authority-joined":           request(method, open+","+admin, "/users"),
			"authority-path":             request(method, open+"/users?x="+admin, "/users"),
			"authority-line":             request(method, open+"\r\nhost: "+admin, "/users"),
			"authority-nobody":           request(method, "nobody.example.com", "/users"),
			"path-absolute":              request(method, open, "http://"+admin+"/users"),
			"path-absolute-turned":       request(method, admin, "http://"+open+"/users"),
			"path-host":                  request(method, open, "//"+admin+"/users"),
			"path-without-slash":         request(method, open, admin+"/users"),
			"path-line":                  request(method, open, "/users HTTP/1.1\r\nhost: "+admin+"\r\n\r\n"),
			"path-space":                 request(method, open, "/users HTTP/1.1 x"),
			"method-line":                request(method+" http://"+admin+"/users HTTP/1.1\r\nx: y", open, "/users"),
			"method-space":               request(method+" /admin HTTP/1.1 x", api, "/public"),
			"scheme-host": {{":method", method}, {":scheme", "http://" + admin + "/x?"}, {":authority", open},
				{":path", "/users"}},
			"value-line": request(method, open, "/users", field{"x-a", "b\r\nhost: " + admin}),
			"value-request": request(method, open, "/users",
				field{"x-a", "b\r\n\r\n" + method + " /users HTTP/1.1\r\nhost: " + admin + "\r\n\r\n"}),
			"name-line":         request(method, open, "/users", field{"x-a: b\r\nhost", admin}),
			"name-colon":        request(method, open, "/users", field{"host: " + admin + "\r\nx", "y"}),
			"transfer-encoding": request(method, open, "/users", field{"transfer-encoding", "chunked"}),
			"content-length":    request(method, open, "/users", field{"content-length", "40"}),
			"connection": request(method, api, "/about",
				append([]field{{"connection", "x-tenant-id, x-api-key-id"}}, key...)...),
			"identity": request(method, open, "/users", field{"x-api-key-id", "Admin001"},
				field{"x_api_key_scopes", "*"}),
			"identity-upper": request(method, open, "/users", field{"X-Api-Key-Id", "Admin001"}),
			"override": request(method, open, "/users", field{"x-original-url", "/admin"},
				field{"x-forwarded-host", admin}, field{"x-http-method-override", "DELETE"}),
			"dots":         request(method, api, "/public/../admin", key...),
			"dots-encoded": request(method, api, "/public/%2e%2e/admin", key...),
		} {
			hostile = append(hostile,
				http2Case{id: strings.ToLower(method) + "-" + id, source: "RFC 9113 section 8.3", fields: fields})
		}
	}
	return hostile, []http2Case{
		{"open", "RFC 9113 section 8.3.1", request("GET", open, "/users")},
		{"open-delete", "RFC 9113 section 8.3.1", request("DELETE", open, "/users")},
		{"api", "RFC 9113 section 8.3.1", request("GET", api, "/api/products?page=2", key...)},
	}
}

// TestHTTP2 sends requests over HTTP/2, whose :authority and host may differ, through every proxy that speaks it.
//
// It stays green with $http_host in place of $host in nginx's guide, and that is correct: nginx 1.22 answers 400 to a
// host field beside :authority, even if they are equal, and to a :path that is a URL, so both variables name one host.
// They differ only over HTTP/1.1, where the request line has a host of its own, which TestBypass sends.
func TestHTTP2(t *testing.T) {
	b := newTestbed(t)
	hostile, harmless := http2Corpus(b.values)
	for _, name := range slices.Concat([]string{"nginx", "caddy", "haproxy", "traefik"}, proxies.Names(proxies.Envoys),
		proxies.Names(proxies.Gateways)) {
		t.Run(name, func(t *testing.T) {
			up, o := proxies.StartUpstream(t), newOracle()
			at, _ := allProxies()[name].Start(t, b.environment(), up)
			reached := func(c http2Case, wait time.Duration) (fine int) {
				sendHTTP2(t.Context(), t, at.HTTP2, c.fields, wait)
				for _, r := range up.Take() {
					if fault := o.fault(r); fault != "" {
						t.Errorf("%s (%s)\n  sent      %.300q\n  upstream  %.300q\n  fault     %s", c.id, c.source, c.fields[:4],
							redact(r.Head), fault)
					} else {
						fine++
					}
				}
				return fine
			}
			passed := 0
			for _, c := range hostile {
				passed += reached(c, hang)
			}
			t.Logf("%d hostile requests: %d reached the upstream, which may have been so", len(hostile), passed)
			for _, c := range harmless {
				if reached(c, timeout) != 1 {
					t.Errorf("%s does not reach the upstream", c.id)
				}
			}
		})
	}
}

// The frames of RFC 9113 section 6 that are sent or waited for.
const (
	frameData, frameHeaders, frameReset, frameSettings, frameGoAway = 0, 1, 3, 4, 7
	endStream, endHeaders, ack                                      = 1, 4, 1
)

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(payload)<<8)|uint32(kind))
	return append(binary.BigEndian.AppendUint32(append(head, flags), stream), payload...)
}

// sendHTTP2 sends a request on a connection of its own, by prior knowledge, and waits for the answer or until the time
// is over. It writes the bytes itself, because no client would send such fields.
func sendHTTP2(ctx context.Context, t *testing.T, address string, fields []field, wait time.Duration) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientAddress)}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	var block []byte // RFC 7541 section 6.2.2: literals with new names, not indexed.
	for _, f := range fields {
		block = appendLiteral(appendLiteral(append(block, 0), f.name), f.value)
	}
	out := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	out = append(out, frame(frameSettings, 0, 0, nil)...)
	out = append(out, frame(frameHeaders, endStream|endHeaders, 1, block)...)
	if _, err := conn.Write(out); err != nil {
		return // The proxy has closed the connection, which is an answer.
	}
	for {
		head := make([]byte, 9)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		length := int64(binary.BigEndian.Uint32(head) >> 8)
		if _, err := io.CopyN(io.Discard, conn, length); err != nil {
			return
		}
		switch kind, flags := head[3], head[4]; {
		case kind == frameSettings && flags&ack == 0:
			_, _ = conn.Write(frame(frameSettings, ack, 0, nil))
		case kind == frameReset || kind == frameGoAway || (kind == frameHeaders || kind == frameData) && flags&endStream != 0:
			return
		}
	}
}

// appendLiteral appends a string literal, RFC 7541 section 5.2, without Huffman's code.
func appendLiteral(b []byte, s string) []byte {
	const most = 1<<7 - 1
	if len(s) < most {
		return append(append(b, byte(len(s))), s...)
	}
	return append(binary.AppendUvarint(append(b, most), uint64(len(s)-most)), s...)
}
