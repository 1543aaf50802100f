package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// line is a connection to a verifier, over which one thing after another is asked, as a proxy does.
type line struct {
	connection io.ReadWriteCloser
	reader     *bufio.Reader
}

func dial(ctx context.Context, address string) (*line, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &line{connection: connection, reader: bufio.NewReader(connection)}, nil
}

func (l *line) close() { _ = l.connection.Close() }

// ask returns what a verifier says of a key: a status.
func (l *line) ask(message []byte) (int, error) {
	if _, err := l.connection.Write(message); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(l.reader, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// question is what nginx sends, with the headers that a client's request may well have.
func question(s subject) []byte {
	return []byte(strings.ReplaceAll(fmt.Sprintf(`GET /auth/nginx HTTP/1.1
Host: verifier
X-Original-URL: https://%s/api/products?page=2
X-Original-Method: GET
X-Forwarded-For: 203.0.113.7
X-Tenant-ID: %s
Authorization: Bearer %s
User-Agent: acme-warehouse/2.4 (linux; amd64)
Accept: application/json
Accept-Encoding: gzip, br

`, fixture.Host, s.tenantID, s.token), "\n", "\r\n"))
}

// sight is what one poller saw of a key's end at one replica.
type sight struct {
	// refused is when the first 401 was there.
	refused time.Time
	// late is how many requests passed that were sent after the revocation was said to be effective.
	late int
	// asking is how long a question took, in milliseconds, each.
	asking samples
	err    error
}

// pollGap is how long one who asks at leisure rests between two questions.
const pollGap = 400 * time.Microsecond

// pollRest is how long a poller rests after a question. Before a revocation is acknowledged, nothing is timed. After
// it, half of what it rests is added to what is measured, on average: so it is a tenth of the time that it has taken by
// then. Pollers come before everything else on the machine. If they asked as often as at first when a watch event is
// late, it would be late because of them.
func pollRest(acknowledged *atomic.Int64) time.Duration {
	const least, most = 150 * time.Microsecond, 2 * time.Millisecond
	since := acknowledged.Load()
	if since == 0 {
		return pollGap
	}
	return min(max(time.Since(time.Unix(0, since))/10, least), most)
}

// pollAfter is how long it rests once it was refused, when nothing is timed any more: the controller has work to do
// then.
const pollAfter = 2 * time.Millisecond

// poll asks one replica about a key, one question after another, until it is refused, and some more once it is said
// that all refuse it. Between two questions it rests: pollers that never do keep every processor of a small machine
// busy, and what is measured then is how long a watch event waits for one of them. It says once that it is asking: a
// connection that takes its time to be made is not to be taken for a revocation that does.
func poll(
	ctx context.Context, address string, s subject, asking chan<- struct{}, acknowledged *atomic.Int64,
	effective <-chan struct{},
) (seen sight) {
	begun := sync.OnceFunc(func() { asking <- struct{}{} })
	defer begun()
	defer promptly()()
	l, err := dialBlocking(address)
	if err != nil {
		return sight{err: err}
	}
	defer l.close()
	q := question(s)
	for more := 5; more > 0; {
		over := false
		select {
		case <-ctx.Done():
			seen.err = context.Cause(ctx)
			return seen
		case <-effective:
			over = true
		default:
		}
		began := time.Now()
		status, err := l.ask(q)
		if err != nil {
			seen.err = err
			return seen
		}
		seen.asking = append(seen.asking, milliseconds(time.Since(began)))
		begun()
		switch {
		case status == http.StatusUnauthorized && seen.refused.IsZero():
			seen.refused = time.Now()
		case status == http.StatusOK && over:
			seen.late++
		}
		if over && !seen.refused.IsZero() {
			more--
		}
		if seen.refused.IsZero() {
			pause(pollRest(acknowledged))
		} else {
			pause(pollAfter)
		}
	}
	return seen
}
