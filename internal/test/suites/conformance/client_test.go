package conformance_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

const (
	// timeout bounds the wait for what must happen. It is longer than any proxy waits for an answer.
	timeout = 100 * time.Second

	// clientAddress is the address of clients, stranger that of another client, and balancer that of a load balancer. The
	// verifier trusts the load balancer, and proxies, which are at 127.0.0.1.
	clientAddress = "127.0.0.2"
	stranger      = "127.0.0.9"
	balancer      = "127.0.0.3"

	apiHost   = "api.example.com"
	openHost  = "open.example.com"
	adminHost = "admin.example.com"
)

// answer is the answer to a request, with the requests that have reached the upstream.
type answer struct {
	// status is 0 if the connection ends without an answer.
	status int
	header http.Header
	body   string
	// continued is set if the client got 100 Continue.
	continued bool
	upstream  []*proxies.Received
	took      time.Duration
}

// passed reports whether the upstream has answered.
func (a answer) passed() bool {
	return a.status == http.StatusOK && a.header.Get("X-Upstream") == "yes"
}

// word returns the cell for a request that should pass.
func (a answer) word() string {
	if a.passed() {
		return "yes"
	}
	return a.code()
}

// code returns the status as the text of a cell.
func (a answer) code() string {
	if a.status == 0 {
		return "closed"
	}
	return fmt.Sprint(a.status)
}

// request returns the head of a request with a key, by its name among the environment's.
func (s *subject) request(method, path, name string, headers ...string) string {
	lines := append([]string{method + " " + path + " HTTP/1.1", "Host: " + apiHost}, s.credentials(name)...)
	return head(append(lines, headers...)...)
}

// credentials returns the headers with a key's tenant and token.
func (s *subject) credentials(name string) []string {
	k := s.keys[name]
	return []string{"X-Tenant-ID: " + k.tenant, "Authorization: Bearer " + k.token}
}

// head returns the head of an HTTP message: its lines, and an empty one.
func head(lines ...string) string { return strings.Join(append(lines, "", ""), "\r\n") }

// ask sends a request from clientAddress.
func (s *subject) ask(request string) answer { return s.askFrom(clientAddress, request) }

// askFrom sends a request, and checks what has reached the upstream.
func (s *subject) askFrom(from, request string) answer {
	s.upstream.Take()
	began := time.Now()
	conn, err := s.dial(from)
	if err != nil {
		return answer{took: time.Since(began)}
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, request) }() // The proxy may answer before the end.
	a := read(conn, request)
	a.took, a.upstream = time.Since(began), s.upstream.Take()
	for _, r := range a.upstream {
		s.checkUpstream(r)
	}
	return a
}

func (s *subject) dial(from string) (net.Conn, error) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(s.t.Context(), "tcp", s.at.HTTP1)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(timeout))
	}
	return conn, err
}

// read reads the answer to a request.
func read(conn io.Reader, request string) (a answer) {
	method, _, _ := strings.Cut(request, " ")
	in := bufio.NewReader(conn)
	for {
		response, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return a
		}
		if response.StatusCode == http.StatusContinue {
			a.continued = true
			continue
		}
		a.status, a.header = response.StatusCode, response.Header
		if a.status != http.StatusSwitchingProtocols {
			body, _ := io.ReadAll(response.Body) // The proxy may close before the end.
			a.body = string(body)
		}
		response.Body.Close()
		return a
	}
}
