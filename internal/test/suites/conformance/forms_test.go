package conformance_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"time"
)

var handshake = []string{
	"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
}

// forms are questions about unusual forms of requests.
var forms = []row{
	{"a WebSocket", webSocket},
	{"a WebSocket, with a revoked key", func(s *subject) string {
		a := s.ask(s.request("GET", "/api/products", "revoked", handshake...))
		s.mustNotPass("a handshake with a revoked key", a)
		return a.code()
	}},
	{"a CORS preflight, by a rule that is `anonymous`", func(s *subject) string {
		return s.ask(head("OPTIONS /api/products HTTP/1.1", "Host: "+apiHost, "Origin: https://shop.example.com",
			"Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization, x-tenant-id")).word()
	}},
	{"a page's script can read a refusal (CORS)", func(s *subject) string {
		a := s.ask(s.request("GET", "/api/products", "revoked", "Origin: https://shop.example.com"))
		s.mustNotPass("a request of a page's with a revoked key", a)
		if a.header.Get("Access-Control-Allow-Origin") == "" {
			return "no"
		}
		return "yes"
	}},
	{"`Expect: 100-continue`", expectContinue},
	{"the same, with a revoked key", refusedBody},
	{"`Content-Length` beside `Transfer-Encoding`", func(s *subject) string {
		a := s.ask(s.request("GET", "/api/products", "reader", "Content-Length: 3", "Transfer-Encoding: chunked") +
			"3\r\nabc\r\n0\r\n\r\n")
		if !a.passed() || len(a.upstream) != 1 {
			return a.code()
		}
		if len(a.upstream[0].Values("content-length")) == 0 {
			return "the first is taken out"
		}
		return "the second is taken out"
	}},
	{"an escaped slash, `/api/products/a%2Fb`", func(s *subject) string {
		return s.ask(s.request("GET", "/api/products/a%2Fb", "reader")).word()
	}},
	{"a second `?` in the query", func(s *subject) string {
		return s.ask(s.request("GET", "/api/products?next=/a?b=c", "reader")).word()
	}},
	{"a query that is not encoded, `?q=café`", func(s *subject) string {
		return s.ask(s.request("GET", "/api/products?q=caf\xc3\xa9", "reader")).word()
	}},
	{"a health check that names no host, `OPTIONS / HTTP/1.0`", func(s *subject) string {
		a := s.ask("OPTIONS / HTTP/1.0\r\n\r\n")
		s.mustNotPass("a health check without a host", a)
		if strings.Contains(a.body, "proxy_misconfigured") {
			s.fault("a client's health check counts as a fault of the operator's")
		}
		return a.code()
	}},
}

// bodyTimeout is how long a client waits for an answer without sending the body.
const bodyTimeout = 5 * time.Second

// refusedBody sends a request with a revoked key, which announces a body, and waits for the answer before the body.
func refusedBody(s *subject) string {
	s.upstream.Take()
	conn, err := s.dial(clientAddress)
	if err != nil {
		return "closed"
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(bodyTimeout))
	request := s.request("POST", "/api/products", "revoked", "Expect: 100-continue", "Content-Length: 5")
	if _, err := io.WriteString(conn, request); err != nil {
		return "closed"
	}
	a := read(conn, request)
	a.upstream = s.upstream.Take()
	s.mustNotPass("a body with a revoked key", a)
	switch {
	case a.status == 0:
		return "waits for the body"
	case a.continued:
		return a.code() + ", and asks for the body"
	default:
		return a.code()
	}
}

// webSocket sends a handshake and then a frame, which must come back.
func webSocket(s *subject) string {
	s.upstream.Take()
	conn, err := s.dial(clientAddress)
	if err != nil {
		return "closed"
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, s.request("GET", "/api/products", "reader", handshake...)); err != nil {
		return "closed"
	}
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return "closed"
	}
	defer response.Body.Close()
	for _, r := range s.upstream.Take() {
		s.checkUpstream(r)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return "no"
	}
	const frame = "\x81\x05hello"
	echo := make([]byte, len(frame))
	if _, err := io.WriteString(conn, frame); err != nil {
		return "closed"
	}
	if _, err := io.ReadFull(in, echo); err != nil || string(echo) != frame {
		return "closed"
	}
	return "yes"
}

// expectContinue sends a body once it has got 100 Continue.
func expectContinue(s *subject) string {
	s.upstream.Take()
	conn, err := s.dial(clientAddress)
	if err != nil {
		return "closed"
	}
	defer conn.Close()
	request := s.request("POST", "/api/products", "reader", "Expect: 100-continue", "Content-Length: 5")
	if _, err := io.WriteString(conn, request); err != nil {
		return "closed"
	}
	in := bufio.NewReader(conn)
	response, err := http.ReadResponse(in, nil)
	if err != nil {
		return "closed"
	}
	response.Body.Close()
	if response.StatusCode != http.StatusContinue {
		return answer{status: response.StatusCode, header: response.Header}.word()
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		return "closed"
	}
	a := read(in, request)
	for _, r := range s.upstream.Take() {
		s.checkUpstream(r)
		if a.passed() && r.Body != len("hello") {
			s.fault("of a body that the client was told to send, %d bytes reach the upstream", r.Body)
		}
	}
	return a.word()
}
