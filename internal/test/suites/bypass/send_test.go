package bypass_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"time"
)

// fence follows each case on its connection: nobody needs a key for it, and its answer ends the connection. A case that
// can't be told from what follows swallows it.
const (
	fenceTarget = "/public/fence"
	fence       = "GET " + fenceTarget + " HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n"
)

// lingering is how long a proxy may take to close a connection after it has said that it will.
const lingering = 20 * time.Millisecond

// send sends what a client says to a proxy, waits until the proxy has closed the connection or the time is over, and
// returns the status of the first answer, or 0.
func send(ctx context.Context, address string, raw []byte, wait time.Duration) (int, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientAddress)}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		return 0, err
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = conn.Write(append(slices.Clip(raw), fence...)) // The proxy may have closed long before the end.
	}()
	in := bufio.NewReader(conn)
	status := 0
	for {
		response, err := http.ReadResponse(in, nil)
		if err != nil {
			break
		}
		if status == 0 {
			status = response.StatusCode
		}
		if response.Close { // Envoy says so, and then waits a second for its client to close.
			_ = conn.SetDeadline(time.Now().Add(min(wait, lingering)))
		}
		_, _ = io.Copy(io.Discard, response.Body)
	}
	_, _ = io.Copy(io.Discard, in)
	conn.Close()
	<-written
	return status, errors.Join(ctx.Err())
}
