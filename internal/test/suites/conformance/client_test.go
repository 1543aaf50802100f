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
	// timeout bounds waiting for what must happen. It is longer than the longest time that a proxy waits for an answer.
	timeout = 100 * time.Second

	// clientAddress is where clients are, stranger another address and balancer a load balancer's. Proxies are at
	// 127.0.0.1, which the verifier trusts, as it does the load balancer.
	clientAddress = "127.0.0.2"
	stranger      = "127.0.0.9"
	balancer      = "127.0.0.3"

	apiHost   = "api.example.com"
	openHost  = "open.example.com"
	adminHost = "admin.example.com"
)

// answer is what a client gets, and what has reached the upstream.
type answer struct {
	// status is 0 where the connection ends without an answer.
	status int
	header http.Header
	body   string
	// goOn is set where the client was told to send the body.
	goOn     bool
	upstream []*proxies.Received
	took     time.Duration
}

// passed reports whether the upstream has answered.
func (a answer) passed() bool {
	return a.status == http.StatusOK && a.header.Get("X-Upstream") == "yes"
}

// word is the cell of a request that should pass.
func (a answer) word() string {
	if a.passed() {
		return "yes"
	}
	return a.code()
}

// code is the status as a cell has it.
func (a answer) code() string {
	if a.status == 0 {
		return "closed"
	}
	return fmt.Sprint(a.status)
}

// request returns the head of a request with a key, by its name among the environment's.
func (s *session) request(method, path, name string, headers ...string) string {
	lines := append([]string{method + " " + path + " HTTP/1.1", "Host: " + apiHost}, s.credentials(name)...)
	return head(append(lines, headers...)...)
}

// credentials returns the headers by which a key is used.
func (s *session) credentials(name string) []string {
	k := s.keys[name]
	return []string{"X-Tenant-ID: " + k.tenant, "Authorization: Bearer " + k.token}
}

// head returns lines as HTTP has them, with an empty one behind.
func head(lines ...string) string { return strings.Join(append(lines, "", ""), "\r\n") }

// ask sends a request from where clients are.
func (s *session) ask(request string) answer { return s.askFrom(clientAddress, request) }

// askFrom sends a request, and checks what has reached the upstream.
func (s *session) askFrom(from, request string) answer {
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

func (s *session) dial(from string) (net.Conn, error) {
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
			a.goOn = true
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
