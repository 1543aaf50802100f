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
func (g *generations) begin(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parent = ctx
	g.ctx, g.end = context.WithCancel(ctx)
}

// next ends the current generation and begins another.
func (g *generations) next() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.end()
	g.ctx, g.end = context.WithCancel(g.parent)
}

// current returns a context that ends with the current generation.
func (g *generations) current() context.Context {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ctx
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
func (s *initialSync) begin(resource string) {
	if resource != "apikeys" {
		return
	}
	gctuning.SaveMemory(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.underWay, s.advanced = true, s.clock()
}

// progress records that data has arrived.
func (s *initialSync) progress() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.underWay {
		s.advanced = s.clock()
	}
}

// end records that the list is complete.
func (s *initialSync) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.underWay, s.done = false, s.clock()
}

// completed returns when the last list was complete, or zero before the first.
func (s *initialSync) completed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// progressing reports whether a list is under way and data has arrived within the timeout.
func (s *initialSync) progressing(now time.Time, timeout time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.underWay && now.Sub(s.advanced) <= timeout
}

// progressTransport reports to an initialSync whenever data of ApiKeys arrives.
type progressTransport struct {
	next http.RoundTripper
	sync *initialSync
}

// RoundTrip implements http.RoundTripper.
func (t *progressTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(request)
	if err == nil && request.Method == http.MethodGet && strings.HasSuffix(request.URL.Path, "/apikeys") {
		response.Body = &progressBody{ReadCloser: response.Body, sync: t.sync}
	}
	return response, err
}

// WrappedRoundTripper implements net.RoundTripperWrapper, through which client-go finds the underlying transport.
func (t *progressTransport) WrappedRoundTripper() http.RoundTripper { return t.next }

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
