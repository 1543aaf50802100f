package limit_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/limit"
)

// TestAnAnswerMayLast checks that a handler which has read the body may take longer for its response than a body may
// take. It fails if the read deadline stays, which makes the server take the client for disconnected.
func TestAnAnswerMayLast(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		_, _ = io.WriteString(w, "begun\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			_, _ = io.WriteString(w, "cut off")
		case <-time.After(300 * time.Millisecond):
			_, _ = io.WriteString(w, "done")
		}
	}))
	limit.Bounds{Header: 64 << 10}.Apply(server.Config)
	server.Start()
	defer server.Close()
	response, err := http.Post(server.URL, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "begun\ndone" {
		t.Errorf("%q, %v", body, err)
	}
}
