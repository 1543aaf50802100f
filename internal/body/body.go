// Package body reads the bodies of requests to the verifier: no more of them than there may be, and no longer than a caller
// in good faith takes to send them.
package body

import (
	"io"
	"net/http"
	"time"
)

// patience is how long a body may take.
const patience = 5 * time.Second

// Read returns a request's body. The error is an *http.MaxBytesError where it is longer than the limit.
func Read(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	// Not every ResponseWriter can, and the server that is in production does. It sets the deadline anew for the next request.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience))
	return io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
}
