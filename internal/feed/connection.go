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

// generations are the watch generations of the feed. A generation begins with a list of everything and lasts until
// everything has to be listed again.
type generations struct {
	mu     sync.Mutex
	parent context.Context //nolint:containedctx // The context of each generation derives from it.
	ctx    context.Context //nolint:containedctx // It ends with the current generation.
	end    context.CancelFunc
}

// begin begins the first generation. The last one ends with the context.
func (e *generations) begin(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.parent = ctx
	e.ctx, e.end = context.WithCancel(ctx)
}

// next ends the current generation and begins another.
func (e *generations) next() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.end()
	e.ctx, e.end = context.WithCancel(e.parent)
}

// current returns a context that ends with the current generation.
func (e *generations) current() context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ctx
}

// initialSync tracks the list of all ApiKeys that a watch generation begins with, and whether it makes progress. With
// many keys, the list may take longer than a proof may, and no nonce comes back before it is complete.
type initialSync struct {
	clock func() time.Time

	mu       sync.Mutex
	underWay bool
	// advanced is when data last arrived. done is when the last list was complete.
	advanced, done time.Time
}

// begin records that the list of a resource begins. It ignores all but ApiKeys, because the others are few.
func (c *initialSync) begin(resource string) {
	if resource != "apikeys" {
		return
	}
	gctuning.SaveMemory(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.underWay, c.advanced = true, c.clock()
}

// progress records that data has arrived.
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

// completed returns when the last list was complete, or zero before the first.
func (c *initialSync) completed() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}

// progressing reports whether a list is under way and data has arrived within the timeout.
func (c *initialSync) progressing(now time.Time, timeout time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.underWay && now.Sub(c.advanced) <= timeout
}

// progressTransport reports to an initialSync whenever data of ApiKeys arrives.
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

// WrappedRoundTripper implements net.RoundTripperWrapper, through which client-go finds the underlying transport.
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
