package conformance_test

import (
	"net"
	"sync"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// gate is what a proxy connects to in place of the verifier, over HTTP and over gRPC.
type gate struct{ http, grpc *relay }

func newGate(t *testing.T, to install.Addresses) *gate {
	t.Helper()
	return &gate{http: newRelay(t, to.HTTP), grpc: newRelay(t, to.GRPC)}
}

// addresses returns the addresses that the proxy connects to.
func (g *gate) addresses() install.Addresses {
	return install.Addresses{HTTP: g.http.address, GRPC: g.grpc.address}
}

// leadTo ends all connections, and connects new ones to other addresses.
func (g *gate) leadTo(to install.Addresses) {
	g.http.leadTo(to.HTTP)
	g.grpc.leadTo(to.GRPC)
}

// stop ends all connections and refuses new ones, like a host on which no process listens.
func (g *gate) stop() {
	g.http.stop()
	g.grpc.stop()
}

// resume accepts connections again.
func (g *gate) resume(t *testing.T) {
	t.Helper()
	g.http.resume(t)
	g.grpc.resume(t)
}

// freeze goes on accepting connections, and passes nothing on until thaw.
func (g *gate) freeze() {
	g.http.freeze(true)
	g.grpc.freeze(true)
}

func (g *gate) thaw() {
	g.http.freeze(false)
	g.grpc.freeze(false)
}

// freezeOpen freezes the connections that are open, as if their replica had stopped answering. New ones work, as if to
// another replica.
func (g *gate) freezeOpen() {
	g.http.freezeOpen()
	g.grpc.freezeOpen()
}

// opened returns how many connections there have been.
func (g *gate) opened() int { return g.http.count() + g.grpc.count() }

// relay connects each client to a target.
type relay struct {
	address string

	mu       sync.Mutex
	changed  *sync.Cond
	listener net.Listener
	target   string
	links    map[*link]struct{}
	opened   int
	frozen   bool
}

// link is a client's connection with the one to the target. The relay's mutex guards it.
type link struct {
	client, server net.Conn
	frozen, ended  bool
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	r := &relay{target: target, links: map[*link]struct{}{}}
	r.changed = sync.NewCond(&r.mu)
	program.WaitUntil(t, timeout, "a free address", func() error {
		r.address = program.FreeAddress(t) // Another process may take it first.
		return r.open(t)
	})
	t.Cleanup(r.stop)
	return r
}

func (r *relay) resume(t *testing.T) {
	t.Helper()
	program.WaitUntil(t, timeout, "the previous address", func() error { return r.open(t) })
}

// open accepts connections.
func (r *relay) open(t *testing.T) error {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", r.address)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.listener = listener
	r.mu.Unlock()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go r.join(client)
		}
	}()
	return nil
}

func (r *relay) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener.Close()
	r.endAll()
}

func (r *relay) leadTo(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = target
	r.endAll()
}

func (r *relay) freeze(frozen bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = frozen
	r.changed.Broadcast()
}

func (r *relay) freezeOpen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for l := range r.links {
		l.frozen = true
	}
}

func (r *relay) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.opened
}

// endAll ends all links. The caller holds the mutex.
func (r *relay) endAll() {
	for l := range r.links {
		r.end(l)
	}
}

// end ends a link. The caller holds the mutex.
func (r *relay) end(l *link) {
	l.ended = true
	delete(r.links, l)
	l.client.Close()
	l.server.Close()
	r.changed.Broadcast()
}

// join connects a client to the target.
func (r *relay) join(client net.Conn) {
	r.mu.Lock()
	target := r.target
	r.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		client.Close()
		return
	}
	l := &link{client: client, server: server}
	r.mu.Lock()
	r.links[l] = struct{}{}
	r.opened++
	r.mu.Unlock()
	go r.pass(l, server, client)
	r.pass(l, client, server)
}

// pass copies from one connection of a link to the other until either ends.
func (r *relay) pass(l *link, to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && r.await(l) {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			r.await(l) // A frozen link doesn't pass on an end, either.
			r.mu.Lock()
			r.end(l)
			r.mu.Unlock()
			return
		}
	}
}

// await waits while a link is frozen, and reports whether it is still open.
func (r *relay) await(l *link) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for (r.frozen || l.frozen) && !l.ended {
		r.changed.Wait()
	}
	return !l.ended
}
