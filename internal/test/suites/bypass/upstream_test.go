package bypass_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// received is a request as the upstream got it.
type received struct {
	// head is the request line and the header, byte by byte.
	head           string
	method, target string
	// names and contents are the header's lines.
	names, contents []string
	// site is whose upstream it has reached, or nil where there is only one.
	site *site
	// broken says why its parts or its end can be read in more than one way.
	broken string
}

// values returns the values of a header. An underscore in its name counts as a hyphen.
func (r *received) values(header string) (values []string) {
	for i, name := range r.names {
		if strings.ReplaceAll(strings.ToLower(name), "_", "-") == header {
			values = append(values, r.contents[i])
		}
	}
	return values
}

var (
	requestLine = regexp.MustCompile(`^([!#$%&'*+.^_|~0-9A-Za-z-]+) ([^ ]+) HTTP/1\.[01]$`)
	fieldLine   = regexp.MustCompile("^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$")
	number      = regexp.MustCompile(`^\d+$`)
)

// parse parses a head by RFC 9112 sections 2 to 6, and records what breaks its rules.
func parse(head []byte) *received {
	r := &received{head: string(head)}
	lines := strings.Split(strings.TrimSuffix(r.head, "\r\n\r\n"), "\r\n")
	if i := strings.IndexAny(strings.Join(lines, ""), "\r\n\x00"); i >= 0 {
		r.broken = "a bare CR, LF or NUL"
	}
	if m := requestLine.FindStringSubmatch(lines[0]); m != nil {
		r.method, r.target = m[1], m[2]
	} else {
		r.broken = fmt.Sprintf("the request line %q", lines[0])
	}
	for _, line := range lines[1:] {
		m := fieldLine.FindStringSubmatch(line)
		if m == nil {
			if line != "" {
				r.broken = fmt.Sprintf("the field line %q", line)
			}
			continue
		}
		r.names, r.contents = append(r.names, m[1]), append(r.contents, m[2])
	}
	lengths, encodings := r.values("content-length"), r.values("transfer-encoding")
	switch {
	case len(lengths)+len(encodings) > 1:
		r.broken = fmt.Sprintf("Content-Length %q and Transfer-Encoding %q", lengths, encodings)
	case len(encodings) == 1 && !strings.EqualFold(encodings[0], "chunked"):
		r.broken = fmt.Sprintf("Transfer-Encoding %q", encodings)
	case len(lengths) == 1 && !number.MatchString(lengths[0]):
		r.broken = fmt.Sprintf("Content-Length %q", lengths)
	case len(r.values("host")) > 1:
		r.broken = "more than one Host"
	}
	return r
}

// upstream is the API behind the proxy, with an address for each site. It takes whatever comes for a request, and
// remembers exactly what that was.
type upstream struct {
	addresses map[string]string // by the site's name

	mu   sync.Mutex
	seen []*received
}

// startUpstream serves all sites on loopback until the end of the test.
func startUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{addresses: map[string]string{}}
	for i := range sites {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		u.addresses[sites[i].name] = listener.Addr().String()
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go u.serve(conn, &sites[i])
			}
		}()
	}
	return u
}

// serve answers every request of a connection with 200. A body ends where the head says; what comes behind it is the
// next request, whoever wrote it.
func (u *upstream) serve(conn net.Conn, s *site) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 1<<20)
	for {
		head, err := readHead(in)
		if len(bytes.TrimSpace(head)) == 0 {
			return
		}
		r := parse(head)
		r.site = s
		if err == nil {
			err = skipBody(in, r)
		}
		u.note(r)
		if err != nil {
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Upstream: yes\r\n\r\n"); err != nil {
			return
		}
	}
}

func (u *upstream) note(r *received) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen = append(u.seen, r)
}

// readHead reads up to an empty line.
func readHead(in *bufio.Reader) (head []byte, err error) {
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

// skipBody reads what belongs to a request beside its head.
func skipBody(in *bufio.Reader, r *received) error {
	if len(r.values("transfer-encoding")) > 0 {
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return err
			}
			size, err := strconv.ParseUint(before(strings.TrimSpace(line), ";"), 16, 31)
			if err != nil {
				return errors.New("no chunk")
			}
			if size == 0 {
				return readTrailer(in, r)
			}
			if _, err := in.Discard(int(size) + 2); err != nil {
				return err
			}
		}
	}
	if lengths := r.values("content-length"); len(lengths) > 0 {
		length, err := strconv.Atoi(lengths[0])
		if err != nil {
			return err
		}
		_, err = in.Discard(length)
		return err
	}
	return nil
}

// readTrailer reads the fields that may follow the last chunk. They are no part of the header, and must not be taken
// for one (RFC 9110 section 6.5.1).
func readTrailer(in *bufio.Reader, r *received) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if line = strings.Trim(line, "\r\n"); line == "" {
			return nil
		}
		if !fieldLine.MatchString(line) {
			r.broken = fmt.Sprintf("the trailer line %q", line)
		}
	}
}

// take returns what has come since the last call.
func (u *upstream) take() []*received {
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.seen
	u.seen = nil
	return seen
}
