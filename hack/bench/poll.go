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

// line is a connection to a verifier that carries one request after another, like a proxy's.
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

// ask sends a request and returns the status of the response.
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

// question returns the request that nginx sends, with headers that a client's request is likely to have.
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

// sight is what one poller saw of a key's revocation at one replica.
type sight struct {
	// refused is the time of the first 401.
	refused time.Time
	// late is how many requests were allowed though they were sent after the revocation was reported as effective.
	late int
	// asking has the duration of each request, in milliseconds.
	asking samples
	err    error
}

// pollGap is the pause between two requests of a poller that is not in a hurry.
const pollGap = 400 * time.Microsecond

// pollRest returns how long a poller rests after a request. Before a revocation is acknowledged, nothing is timed.
// After that, on average half of the rest is added to the measurement, so the rest is a tenth of the time that has
// passed. Pollers have priority over everything else on the machine: if they kept polling at the first rate, a late
// watch event would be late because of them.
func pollRest(acknowledged *atomic.Int64) time.Duration {
	const least, most = 150 * time.Microsecond, 2 * time.Millisecond
	since := acknowledged.Load()
	if since == 0 {
		return pollGap
	}
	return min(max(time.Since(time.Unix(0, since))/10, least), most)
}

// pollAfter is the rest after the first refusal, when nothing is timed any more: the controller needs the processors
// then.
const pollAfter = 2 * time.Millisecond

// poll sends requests with a key to one replica, one after another, until the key is refused, and some more once the
// revocation is reported as effective. It rests between requests: pollers without rest keep every processor of a small
// machine busy, and then the time that a watch event waits for a processor is measured. It first reports that it is
// polling, so that a slow connection isn't mistaken for a slow revocation.
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
