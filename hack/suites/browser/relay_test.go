package browser_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// relay is the way from the console to the API server, which can be cut, as when that is gone.
type relay struct {
	address, target string

	mu       sync.Mutex
	listener net.Listener // nil while the way is cut
	open     []net.Conn
}

// startRelay starts a way to an address. It goes with the test.
func startRelay(t *testing.T, target string) *relay {
	t.Helper()
	r := &relay{address: program.FreeAddress(t), target: target}
	r.mend(t)
	t.Cleanup(r.cut)
	return r
}

// cut ends all connections, and refuses others.
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

// mend lets connections through again.
func (r *relay) mend(t *testing.T) {
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

// pass passes on what either side of a connection says that a listener has taken, until one of them ends.
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
			_, _ = io.Copy(way[0], way[1]) // Whatever ends it, it has ended.
			ended <- struct{}{}
		}()
	}
	<-ended
}

// keep has connections end when the way is cut. It is false where that was meanwhile.
func (r *relay) keep(listener net.Listener, ends ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listener != listener {
		return false
	}
	r.open = append(r.open, ends...)
	return true
}
