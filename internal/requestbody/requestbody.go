// Package requestbody reads the bodies of requests to the verifier, bounded in size and in time.
package requestbody

import (
	"io"
	"net/http"
	"time"
)

// timeout is how long a client may take to send a body.
const timeout = 5 * time.Second

// Read returns a request's body. The error is an *http.MaxBytesError if the body is longer than the limit.
func Read(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	// Some ResponseWriters, such as those of tests, have no deadline; net/http's has, and resets it for the next request.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout))
	return io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
}
