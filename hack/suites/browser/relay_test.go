package browser_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// relay is the connection between the console and the API server. It can be cut, as if the API server were gone.
type relay struct {
	address, target string

	mu       sync.Mutex
	listener net.Listener // nil while the connection is cut
	open     []net.Conn
}

// startRelay starts a relay to an address. It ends with the test.
func startRelay(t *testing.T, target string) *relay {
	t.Helper()
	r := &relay{address: program.FreeAddress(t), target: target}
	r.restore(t)
	t.Cleanup(r.cut)
	return r
}

// cut ends all connections, and refuses new ones.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener == nil {
		return
	}
	_ = r.listener.Close()
	r.listener = nil
	for _, connection := range r.open {
		_ = connection.Close()
	}
	r.open = nil
}

// restore accepts connections again.
func (r *relay) restore(t *testing.T) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.listener = listener
	r.mu.Unlock()
	go func() {
		for {
			from, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go r.pass(listener, from)
			}
		}
	}()
}

// pass copies in both directions of a connection that a listener has accepted, until one side ends.
func (r *relay) pass(listener net.Listener, from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	defer to.Close()
	if !r.keep(listener, from, to) {
		return
	}
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			_, _ = io.Copy(way[0], way[1]) // It does not matter how it ended.
			ended <- struct{}{}
		}()
	}
	<-ended
}

// keep registers connections to be closed when the relay is cut. It returns false if the relay was cut meanwhile.
func (r *relay) keep(listener net.Listener, ends ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != listener {
		return false
	}
	r.open = append(r.open, ends...)
	return true
}
