package proxies

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Received is a request as the upstream got it.
type Received struct {
	// Head is the request line and the header, byte by byte.
	Head           string
	Method, Target string
	// Names and Contents are the header's lines.
	Names, Contents []string
	// Body is the length of its body, without the bytes that frame chunks.
	Body int
	// Site is the site whose upstream it has reached, or nil if there is only one.
	Site *Site
	// Broken says why its parts or its end can be read in more than one way.
	Broken string
}

// Host returns the host that Host names.
func (r *Received) Host() string { return strings.Join(r.Values("host"), ",") }

// Values returns the values of a header. An underscore in its name counts as a hyphen.
func (r *Received) Values(header string) (values []string) {
	for i, name := range r.Names {
		if strings.ReplaceAll(strings.ToLower(name), "_", "-") == header {
			values = append(values, r.Contents[i])
		}
	}
	return values
}

var (
	requestLine = regexp.MustCompile(`^([!#$%&'*+.^_|~0-9A-Za-z-]+) ([^ ]+) HTTP/1\.[01]$`)
	fieldLine   = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$")
	number      = regexp.MustCompile(`^\d+$`)
)

// Parse parses a head according to RFC 9112 sections 2 to 6, and records what breaks its rules.
func Parse(head []byte) *Received {
	r := &Received{Head: string(head)}
	lines := strings.Split(strings.TrimSuffix(r.Head, "\r\n\r\n"), "\r\n")
	if i := strings.IndexAny(strings.Join(lines, ""), "\r\n\x00"); i >= 0 {
		r.Broken = "a bare CR, LF or NUL"
	}
	if m := requestLine.FindStringSubmatch(lines[0]); m != nil {
		r.Method, r.Target = m[1], m[2]
	} else {
		r.Broken = fmt.Sprintf("the request line %q", lines[0])
	}
	for _, line := range lines[1:] {
		m := fieldLine.FindStringSubmatch(line)
		if m == nil {
			if line != "" {
				r.Broken = fmt.Sprintf("the field line %q", line)
			}
			continue
		}
		r.Names, r.Contents = append(r.Names, m[1]), append(r.Contents, m[2])
	}
	lengths, encodings := r.Values("content-length"), r.Values("transfer-encoding")
	switch {
	case len(lengths)+len(encodings) > 1:
		r.Broken = fmt.Sprintf("Content-Length %q and Transfer-Encoding %q", lengths, encodings)
	case len(encodings) == 1 && !strings.EqualFold(encodings[0], "chunked"):
		r.Broken = fmt.Sprintf("Transfer-Encoding %q", encodings)
	case len(lengths) == 1 && !number.MatchString(lengths[0]):
		r.Broken = fmt.Sprintf("Content-Length %q", lengths)
	case len(r.Values("host")) > 1:
		r.Broken = "more than one Host"
	}
	return r
}

// Upstream is the API behind the proxy, with an address for each site. It takes any bytes for a request, and records
// exactly what arrived.
type Upstream struct {
	// Addresses maps the name of each site to its address.
	Addresses map[string]string
	// HTTP2 is set where they are those of an API that speaks nothing else, such as a gRPC service.
	HTTP2 bool

	// Answer returns the response to a request, from the status line on, if a test wants another than 200. After a 101,
	// bytes are echoed.
	Answer func(r *Received) string

	mu   sync.Mutex
	seen []*Received
}

// StartUpstream serves all sites on loopback until the end of the test.
func StartUpstream(t testing.TB) *Upstream {
	t.Helper()
	u := &Upstream{Addresses: map[string]string{}}
	for i := range Sites {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		u.Addresses[Sites[i].Name] = listener.Addr().String()
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go u.serve(conn, &Sites[i])
			}
		}()
	}
	return u
}

// serve answers every request of a connection with 200. A body ends where the head says; what follows it is the next
// request.
func (u *Upstream) serve(conn net.Conn, s *Site) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 1<<20)
	for {
		head, err := ReadHead(in)
		if len(bytes.TrimSpace(head)) == 0 {
			return
		}
		r := Parse(head)
		r.Site = s
		if err == nil {
			err = u.awaitBody(conn, in, r)
		}
		u.Note(r)
		if err != nil {
			return
		}
		answer := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Upstream: yes\r\n\r\n"
		if u.Answer != nil {
			answer = u.Answer(r)
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
		if strings.HasPrefix(answer, "HTTP/1.1 101 ") {
			_, _ = io.Copy(conn, in)
			return
		}
	}
}

// awaitBody reads a request's body, after telling a client that waits for 100 Continue to go on.
func (u *Upstream) awaitBody(conn io.Writer, in *bufio.Reader, r *Received) error {
	if slices.Contains(r.Values("expect"), "100-continue") {
		if _, err := io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return err
		}
	}
	return SkipBody(in, r)
}

// Note records a request.
func (u *Upstream) Note(r *Received) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen = append(u.seen, r)
}

// ReadHead reads up to an empty line.
func ReadHead(in *bufio.Reader) (head []byte, err error) {
	for {
		line, err := in.ReadBytes('\n')
		head = append(head, line...)
		if err != nil {
			return head, err
		}
		if len(bytes.Trim(line, "\r\n")) == 0 && len(head) > len(line) {
			return head, nil
		}
	}
}

// SkipBody reads the rest of a request after its head.
func SkipBody(in *bufio.Reader, r *Received) error {
	if len(r.Values("transfer-encoding")) > 0 {
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return err
			}
			digits, _, _ := strings.Cut(strings.TrimSpace(line), ";")
			size, err := strconv.ParseUint(digits, 16, 31)
			if err != nil {
				return errors.New("no chunk")
			}
			if size == 0 {
				return readTrailer(in, r)
			}
			if _, err := in.Discard(int(size) + 2); err != nil {
				return err
			}
			r.Body += int(size)
		}
	}
	if lengths := r.Values("content-length"); len(lengths) > 0 {
		length, err := strconv.Atoi(lengths[0])
		if err != nil {
			return err
		}
		r.Body, err = in.Discard(length)
		return err
	}
	return nil
}

// readTrailer reads the fields that may follow the last chunk. They are not part of the header, and must not be treated
// as such (RFC 9110 section 6.5.1).
func readTrailer(in *bufio.Reader, r *Received) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if line = strings.Trim(line, "\r\n"); line == "" {
			return nil
		}
		if !fieldLine.MatchString(line) {
			r.Broken = fmt.Sprintf("the trailer line %q", line)
		}
	}
}

// Take returns the requests that have arrived since the last call.
func (u *Upstream) Take() []*Received {
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.seen
	u.seen = nil
	return seen
}

// Len returns how many requests have arrived since the last call of Take.
func (u *Upstream) Len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.seen)
}
