package feed

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/gctuning"
)

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: usualTimeout, KeepAlive: 15 * time.Second}).DialContext(ctx, network, address)
}

// generations are the times between one list of everything and the next.
type generations struct {
	mu     sync.Mutex
	parent context.Context //nolint:containedctx // It is what each epoch's is made from.
	ctx    context.Context //nolint:containedctx // It is what ends with the epoch.
	end    context.CancelFunc
}

// begin begins the first epoch. All end with the context.
func (e *generations) begin(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.parent = ctx
	e.ctx, e.end = context.WithCancel(ctx)
}

// next ends the current epoch.
func (e *generations) next() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.end()
	e.ctx, e.end = context.WithCancel(e.parent)
}

// current returns what ends with the current epoch.
func (e *generations) current() context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ctx
}

// initialSync knows whether all ApiKeys are being listed, and whether that gets anywhere: where they are many, a list may take
// longer than a proof may, and no nonce comes back before it is complete.
type initialSync struct {
	clock func() time.Time

	mu       sync.Mutex
	underWay bool
	// advanced is when the last of it came in; done is when the last list was complete.
	advanced, done time.Time
}

// begin records that a resource is listed from now on. Only ApiKeys are many.
func (c *initialSync) begin(resource string) {
	if resource != "apikeys" {
		return
	}
	gctuning.SaveMemory(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.underWay, c.advanced = true, c.clock()
}

// progress records that something has come in.
func (c *initialSync) progress() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.underWay {
		c.advanced = c.clock()
	}
}

// end records that the list is complete.
func (c *initialSync) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.underWay, c.done = false, c.clock()
}

// completed returns when the last list was complete; zero while there was none.
func (c *initialSync) completed() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}

// progressing says whether a list is under way of which something has come in not long ago.
func (c *initialSync) progressing(now time.Time, patience time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.underWay && now.Sub(c.advanced) <= patience
}

// progressTransport tells a catchUp of what comes in of ApiKeys.
type progressTransport struct {
	next http.RoundTripper
	sync *initialSync
}

// RoundTrip implements http.RoundTripper.
func (m *progressTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := m.next.RoundTrip(request)
	if err == nil && request.Method == http.MethodGet && strings.HasSuffix(request.URL.Path, "/apikeys") {
		response.Body = &progressBody{ReadCloser: response.Body, sync: m.sync}
	}
	return response, err
}

// WrappedRoundTripper implements net.RoundTripperWrapper, by which client-go finds what is underneath.
func (m *progressTransport) WrappedRoundTripper() http.RoundTripper { return m.next }

type progressBody struct {
	io.ReadCloser
	sync *initialSync
}

// Read implements io.Reader.
func (b *progressBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.sync.progress()
	}
	return n, err
}
