package conformance_test

import (
	"net"
	"sync"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// gate is where a proxy asks, over HTTP and over gRPC.
type gate struct{ http, grpc *door }

func newGate(t *testing.T, to install.Addresses) *gate {
	t.Helper()
	return &gate{http: newDoor(t, to.HTTP), grpc: newDoor(t, to.GRPC)}
}

// addresses are where the proxy asks.
func (g *gate) addresses() install.Addresses {
	return install.Addresses{HTTP: g.http.address, GRPC: g.grpc.address}
}

// leadTo ends all connections, and has new ones lead elsewhere.
func (g *gate) leadTo(to install.Addresses) {
	g.http.leadTo(to.HTTP)
	g.grpc.leadTo(to.GRPC)
}

// stop ends all connections, and takes no more, as a host does where no process listens.
func (g *gate) stop() {
	g.http.stop()
	g.grpc.stop()
}

// resume takes connections again.
func (g *gate) resume(t *testing.T) {
	t.Helper()
	g.http.resume(t)
	g.grpc.resume(t)
}

// freeze takes connections, and nothing comes through any of them until it is thawed.
func (g *gate) freeze() {
	g.http.freeze(true)
	g.grpc.freeze(true)
}

func (g *gate) thaw() {
	g.http.freeze(false)
	g.grpc.freeze(false)
}

// freezeOpen freezes the connections that there are, as if their replica had left the Service without a word. New ones
// are those to another replica.
func (g *gate) freezeOpen() {
	g.http.freezeOpen()
	g.grpc.freezeOpen()
}

// opened returns how many connections there have been.
func (g *gate) opened() int { return g.http.count() + g.grpc.count() }

// door joins each connection with one to a target.
type door struct {
	address string

	mu       sync.Mutex
	changed  *sync.Cond
	listener net.Listener
	target   string
	passages map[*passage]struct{}
	opened   int
	frozen   bool
}

// passage is a connection and the one that it is joined with. Its door's mutex guards it.
type passage struct {
	client, server net.Conn
	frozen, ended  bool
}

func newDoor(t *testing.T, target string) *door {
	t.Helper()
	d := &door{target: target, passages: map[*passage]struct{}{}}
	d.changed = sync.NewCond(&d.mu)
	program.WaitUntil(t, timeout, "a free address", func() error {
		d.address = program.FreeAddress(t) // Which another process may take before this one does.
		return d.open(t)
	})
	t.Cleanup(d.stop)
	return d
}

func (d *door) resume(t *testing.T) {
	t.Helper()
	program.WaitUntil(t, timeout, "the address of before", func() error { return d.open(t) })
}

// open takes connections.
func (d *door) open(t *testing.T) error {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", d.address)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.listener = listener
	d.mu.Unlock()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go d.join(client)
		}
	}()
	return nil
}

func (d *door) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.listener.Close()
	d.endAll()
}

func (d *door) leadTo(target string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.target = target
	d.endAll()
}

func (d *door) freeze(frozen bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frozen = frozen
	d.changed.Broadcast()
}

func (d *door) freezeOpen() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range d.passages {
		p.frozen = true
	}
}

func (d *door) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opened
}

// endAll ends all passages. The caller holds the mutex.
func (d *door) endAll() {
	for p := range d.passages {
		d.end(p)
	}
}

// end ends a passage. The caller holds the mutex.
func (d *door) end(p *passage) {
	p.ended = true
	delete(d.passages, p)
	p.client.Close()
	p.server.Close()
	d.changed.Broadcast()
}

// join joins a connection with one to the target.
func (d *door) join(client net.Conn) {
	d.mu.Lock()
	target := d.target
	d.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		client.Close()
		return
	}
	p := &passage{client: client, server: server}
	d.mu.Lock()
	d.passages[p] = struct{}{}
	d.opened++
	d.mu.Unlock()
	go d.pass(p, server, client)
	d.pass(p, client, server)
}

// pass copies from one end of a passage to the other, until either ends.
func (d *door) pass(p *passage, to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && d.await(p) {
			_, err = to.Write(buffer[:n])
		}
		if err != nil {
			d.await(p) // Nor does an end come through a passage that is frozen.
			d.mu.Lock()
			d.end(p)
			d.mu.Unlock()
			return
		}
	}
}

// await waits while a passage is frozen, and reports whether it goes on.
func (d *door) await(p *passage) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for (d.frozen || p.frozen) && !p.ended {
		d.changed.Wait()
	}
	return !p.ended
}
