package limit_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/limit"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// port is a listener that counts why connections were closed. The test reads from them.
type port struct {
	*limit.Listener
	// now is the time in nanoseconds. It changes by pass only.
	now    atomic.Int64
	closed [4]atomic.Int32
}

func listen(t *testing.T, bounds limit.Bounds) *port {
	t.Helper()
	plain, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &port{}
	p.Listener = limit.New(plain, bounds, limit.OnClose(p.note), limit.WithNow(p.now.Load))
	p.pass(time.Hour)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// note counts a connection that was closed.
func (p *port) note(reason limit.Reason) { p.closed[slices.Index(limit.Reasons, reason)].Add(1) }

// pass moves the time forward.
func (p *port) pass(d time.Duration) { p.now.Add(int64(d)) }

// connect returns both ends of a new connection from an address.
func (p *port) connect(t *testing.T, from string) (client, server net.Conn) {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client, err := dialer.DialContext(t.Context(), "tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = p.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

// pass sends bytes from the client, and returns the error of reading them at the server.
func pass(t *testing.T, client, server net.Conn, b []byte) error {
	t.Helper()
	go func() { _, _ = client.Write(b) }()
	_ = server.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, err := io.ReadFull(server, make([]byte, len(b)))
	return err
}

func (p *port) count(reason limit.Reason) int32 {
	return p.closed[slices.Index(limit.Reasons, reason)].Load()
}

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(head, stream), payload...)
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

var small = limit.Bounds{Connections: 10, Own: 16 << 10, Shared: 1 << 20, Header: 8 << 10, Streams: 10, HTTP2: true}

// TestSharedMemory uses more shared memory than there is, by two connections: the first one has been stuck for longer,
// and is closed.
func TestSharedMemory(t *testing.T) {
	p := listen(t, small)
	first, firstServer := p.connect(t, "127.0.0.1")
	if err := pass(t, first, firstServer, append([]byte(preface), frame(1, 4, 1, []byte{0x82})...)); err != nil {
		t.Fatal(err)
	}
	half := bytes.Repeat(frame(0, 0, 1, make([]byte, 16<<10)), 36)
	if err := pass(t, first, firstServer, half); err != nil {
		t.Fatalf("within the shared memory: %v", err)
	}
	p.pass(150 * time.Millisecond) // Longer than recent.
	second, secondServer := p.connect(t, "127.0.0.1")
	if err := pass(
		t, second, secondServer, append(append([]byte(preface), frame(1, 4, 1, []byte{0x82})...), half...),
	); err != nil {
		t.Errorf("the second connection: %v", err)
	}
	if _, err := firstServer.Read(make([]byte, 1)); err == nil || p.count(limit.TooMuchMemory) != 1 {
		t.Errorf("the stuck connection was not closed: %v, closed %d", err, p.count(limit.TooMuchMemory))
	}
	if err := pass(t, second, secondServer, half); !errors.Is(err, limit.ErrExceeded) {
		t.Errorf("more than all shared memory: %v", err)
	}
	third, thirdServer := p.connect(t, "127.0.0.1")
	if err := pass(
		t, third, thirdServer, append(append([]byte(preface), frame(1, 4, 1, []byte{0x82})...), half...),
	); err != nil {
		t.Errorf("memory was not given back: %v", err)
	}
}

// TestStuckConnectionGoesFirst runs out of memory with two connections: one holds little and sends no more, the other
// holds more and waits for its responses. The first is closed. It fails if makeRoom looks only for the one that holds
// the most.
func TestStuckConnectionGoesFirst(t *testing.T) {
	bounds := small
	bounds.Lasting = true // So that a connection that waits for its response is not stuck.
	p := listen(t, bounds)
	begin := append([]byte(preface), frame(1, 4, 1, []byte{0x82})...)
	body := frame(0, 0, 1, make([]byte, 16<<10))
	stuck, stuckServer := p.connect(t, "127.0.0.1")
	if err := pass(t, stuck, stuckServer, append(bytes.Clone(begin), bytes.Repeat(body, 6)...)); err != nil {
		t.Fatal(err)
	}
	waits, waitsServer := p.connect(t, "127.0.0.1")
	if err := pass(
		t, waits, waitsServer, append(append(bytes.Clone(begin), bytes.Repeat(body, 36)...), frame(0, 1, 1, nil)...),
	); err != nil {
		t.Fatal(err)
	}
	p.pass(150 * time.Millisecond) // Longer than recent.
	next, nextServer := p.connect(t, "127.0.0.1")
	if err := pass(t, next, nextServer, append(bytes.Clone(begin), bytes.Repeat(body, 18)...)); err != nil {
		t.Errorf("the next connection: %v", err)
	}
	if _, err := stuckServer.Read(make([]byte, 1)); err == nil || p.count(limit.TooMuchMemory) != 1 {
		t.Errorf("the stuck connection was not closed: %v, closed %d", err, p.count(limit.TooMuchMemory))
	}
	if _, err := waitsServer.Write(frame(1, 5, 1, []byte{0x88})); err != nil {
		t.Errorf("the waiting connection: %v", err)
	}
}

// TestAnsweredRequestsHoldNothing sends far more over one connection than there is memory, one request after another.
func TestAnsweredRequestsHoldNothing(t *testing.T) {
	p := listen(t, small)
	client, server := p.connect(t, "127.0.0.1")
	go func() { _, _ = io.Copy(io.Discard, client) }()
	if err := pass(t, client, server, []byte(preface)); err != nil {
		t.Fatal(err)
	}
	body := append(bytes.Repeat([]byte{0}, 9), make([]byte, 15<<10)...)
	for i := range uint32(500) {
		id := 2*i + 1
		if err := pass(t, client, server, append(frame(1, 4, id, []byte{0x82}), frame(0, 1, id, body)...)); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		answer := append(frame(1, 4, id, []byte{0x88}), frame(0, 1, id, []byte("answer"))...)
		for _, part := range [][]byte{answer[:5], answer[5:12], answer[12:]} { // In whatever pieces it is written.
			if _, err := server.Write(part); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestHTTP2Refuses sends frames that no well-behaved client sends.
func TestHTTP2Refuses(t *testing.T) {
	open := append([]byte(preface), frame(1, 0, 1, []byte{0x82})...)
	for name, test := range map[string]struct {
		bytes []byte
		want  limit.Reason
	}{
		"a long frame": {append([]byte(preface), frame(6, 0, 0, make([]byte, 16<<10+1))...), limit.Malformed},
		"a header without end": {
			append(bytes.Clone(open), bytes.Repeat(frame(9, 0, 1, make([]byte, 16<<10)), 3)...), limit.Malformed,
		},
		"a header of empty frames": {
			append(bytes.Clone(open), bytes.Repeat(frame(9, 0, 1, nil), 5000)...), limit.Malformed,
		},
		"many requests": {requests(41, []byte{0x82}, 0), limit.Malformed},
		"a message that doesn't end": {
			append(requests(1, []byte{0x82}, 0), bytes.Repeat(frame(0, 0, 1, make([]byte, 16<<10)), 70)...), limit.TooMuchMemory,
		},
		"a message byte by byte": {
			append(requests(1, []byte{0x82}, 0), bytes.Repeat(frame(0, 0, 1, []byte{1}), 3000)...), limit.TooMuchMemory,
		},
		"indexed fields":             {requests(40, bytes.Repeat([]byte{0xbe}, 500), 0), limit.TooMuchMemory},
		"requests that are given up": {requests(40, bytes.Repeat([]byte{0xbe}, 500), 1), limit.TooMuchMemory},
		"pings that are not answered": {
			append([]byte(preface), bytes.Repeat(frame(6, 0, 0, make([]byte, 8)), 4500)...), limit.TooMuchMemory,
		},
		"settings that are not": {
			append([]byte(preface), bytes.Repeat(frame(4, 0, 0, nil), 4500)...), limit.TooMuchMemory,
		},
		"windows that grow by nothing": {
			append([]byte(preface), bytes.Repeat(frame(8, 0, 0, make([]byte, 4)), 4500)...), limit.TooMuchMemory,
		},
		"dependence on itself": {
			append([]byte(preface), bytes.Repeat(frame(2, 0, 1, []byte{0, 0, 0, 1, 0}), 4500)...), limit.TooMuchMemory,
		},
		"data for one that is closed": {
			append(requests(1, []byte{0x82}, 1), bytes.Repeat(frame(0, 0, 1, nil), 4500)...), limit.TooMuchMemory,
		},
		"the same, of a literal field": {requests(40, bytes.Repeat([]byte{0x10, 1, 'a', 0}, 250), 1), limit.TooMuchMemory},
	} {
		t.Run(name, func(t *testing.T) {
			p := listen(t, small)
			client, server := p.connect(t, "127.0.0.1")
			if err := pass(t, client, server, test.bytes); !errors.Is(err, limit.ErrExceeded) || p.count(test.want) != 1 {
				t.Errorf("%v, closed for the expected reason: %d", err, p.count(test.want))
			}
		})
	}
}

// TestHTTP2Allows sends frames that proxies may send for as long as they like.
func TestHTTP2Allows(t *testing.T) {
	ping, settings := frame(6, 0, 0, make([]byte, 8)), frame(4, 0, 0, nil)
	for name, test := range map[string]struct{ comes, answer []byte }{
		"pings":             {ping, frame(6, 1, 0, make([]byte, 8))},
		"settings":          {settings, frame(4, 1, 0, nil)},
		"acknowledgements":  {append(frame(6, 1, 0, make([]byte, 8)), frame(4, 1, 0, nil)...), nil},
		"windows":           {append(frame(8, 0, 0, []byte{0, 0, 1, 0}), frame(8, 0, 1, []byte{0, 0, 1, 0})...), nil},
		"priorities":        {frame(2, 0, 3, []byte{0, 0, 0, 1, 16}), nil},
		"data that is late": {frame(0, 0, 1, nil), frame(3, 0, 1, make([]byte, 4))},
	} {
		t.Run(name, func(t *testing.T) {
			p := listen(t, small)
			client, server := p.connect(t, "127.0.0.1")
			go func() { _, _ = io.Copy(io.Discard, client) }()
			if err := pass(t, client, server, requests(1, []byte{0x82}, 1)); err != nil {
				t.Fatal(err)
			}
			for range 100 {
				if err := pass(t, client, server, bytes.Repeat(test.comes, 60)); err != nil {
					t.Fatal(err)
				}
				if _, err := server.Write(bytes.Repeat(test.answer, 60)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestHTTP2Strays sends headers for streams that are closed. Each holds memory until it ends.
func TestHTTP2Strays(t *testing.T) {
	bounds := small
	bounds.Own, bounds.Shared = 13<<10, 64<<10
	p := listen(t, bounds)
	block := bytes.Repeat([]byte{0xbe}, 200)
	for i, want := range []int32{0, 1} {
		client, server := p.connect(t, "127.0.0.1")
		if err := pass(t, client, server, append([]byte(preface), frame(1, 5, 1, []byte{0x82})...)); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Write(frame(1, 5, 1, []byte{0x88})); err != nil {
			t.Fatal(err)
		}
		for range 3 { // These end, and hold nothing.
			if err := pass(t, client, server, frame(1, 4, 1, block)); err != nil {
				t.Fatal(err)
			}
		}
		if err := pass(t, client, server, frame(1, 0, 1, block)); err != nil && want == 0 {
			t.Fatal(err)
		}
		if got := p.count(limit.TooMuchMemory); got != want {
			t.Errorf("connection %d: %d were closed, want %d", i, got, want)
		}
	}
}

// requests returns the bytes of requests that don't end, each of which may be followed by a reset.
func requests(n int, block []byte, resets int) []byte {
	out := []byte(preface)
	for i := range uint32(n) {
		out = append(out, frame(1, 4, 2*i+1, block)...)
		for range resets {
			out = append(out, frame(3, 0, 2*i+1, make([]byte, 4))...)
		}
	}
	return out
}

// TestHTTP1 checks that header fields are counted, and forgotten once the request is answered, unless they belong to
// the next one.
func TestHTTP1(t *testing.T) {
	bounds := small
	bounds.HTTP2, bounds.Shared = false, 64<<10
	short := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	tiny := bytes.Repeat([]byte("a:\n"), 300) // 40 KiB
	for name, test := range map[string]struct {
		rounds []string
		bad    bool
	}{
		"one after another": {[]string{short, short, short}, false},
		"long ones one after another": {
			slices.Repeat([]string{"GET / HTTP/1.1\r\n" + string(tiny) + "a:\r\n\r\n"}, 3), false,
		},
		"too many fields": {
			[]string{"GET / HTTP/1.1\r\n" + string(tiny) + string(tiny) + string(tiny)}, true,
		},
		"the next with the one before": {[]string{short + string(tiny), string(tiny), string(tiny)}, true},
		"HTTP/2's preface, but one letter": {
			[]string{"PRI * HTTP/2.1\r\n", string(tiny) + string(tiny) + string(tiny)}, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := listen(t, bounds)
			client, server := p.connect(t, "127.0.0.1")
			var err error
			for _, round := range test.rounds {
				if err = pass(t, client, server, []byte(round)); err != nil {
					break
				}
				if strings.Contains(round, "\r\n\r\n") {
					server.(*limit.Conn).Idle()
				}
			}
			if bad := errors.Is(err, limit.ErrExceeded); bad != test.bad || err != nil && !bad {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestConnections opens more connections than there may be: the unused ones are closed.
func TestConnections(t *testing.T) {
	p := listen(t, small)
	useful, usefulServer := p.connect(t, "127.0.0.2")
	if err := pass(t, useful, usefulServer, append([]byte(preface), frame(1, 5, 1, []byte{0x82})...)); err != nil {
		t.Fatal(err)
	}
	if _, err := usefulServer.Write(frame(1, 5, 1, []byte{0x88})); err != nil {
		t.Fatal(err)
	}
	p.pass(150 * time.Millisecond) // Longer than recent.
	var idle []net.Conn
	for range 50 {
		_, server := p.connect(t, "127.0.0.2")
		idle = append(idle, server)
		p.pass(20 * time.Millisecond)
	}
	if n := p.count(limit.TooManyConnections); n != 41 {
		t.Errorf("%d connections gave way", n)
	}
	if err := pass(t, useful, usefulServer, frame(6, 0, 0, make([]byte, 8))); err != nil {
		t.Errorf("the used connection: %v", err)
	}
	if _, err := idle[0].Read(make([]byte, 1)); err == nil {
		t.Error("the oldest unused connection is open")
	}
}

// TestConnectionsOfPeers opens all connections and more from one peer: those of another peer stay, whether or not they
// have an unanswered request, and whatever the first peer does with its own.
func TestConnectionsOfPeers(t *testing.T) {
	for name, greedy := range map[string][]byte{
		"idle":            nil,
		"waiting as well": append([]byte(preface), frame(1, 5, 1, []byte{0x82})...),
	} {
		t.Run(name, func(t *testing.T) {
			p := listen(t, small)
			var many []net.Conn
			open := func() {
				client, server := p.connect(t, "127.0.0.2")
				if err := pass(t, client, server, greedy); err != nil {
					t.Fatal(err)
				}
				many = append(many, server)
			}
			for range small.Connections {
				open()
			}
			_, handshaking := p.connect(t, "127.0.0.3")
			client, asking := p.connect(t, "127.0.0.3")
			if err := pass(t, client, asking, append([]byte(preface), frame(1, 5, 1, []byte{0x82})...)); err != nil {
				t.Fatal(err)
			}
			go func() { // Some may be refused.
				for {
					if _, err := p.Accept(); err != nil {
						return
					}
				}
			}()
			dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
			for range 5 * small.Connections {
				more, err := dialer.DialContext(t.Context(), "tcp", p.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = more.Close() })
			}
			program.WaitUntil(t, time.Minute, "connections that give way", func() error {
				if n := p.count(limit.TooManyConnections); int(n) != 5*small.Connections+2 {
					return fmt.Errorf("%d", n)
				}
				return nil
			})
			for what, server := range map[string]net.Conn{
				"that has not asked": handshaking, "that waits for its answer": asking,
			} {
				if _, err := server.Write(frame(1, 5, 1, []byte{0x88})); err != nil {
					t.Errorf("the one %s: %v", what, err)
				}
			}
			if greedy == nil {
				return
			}
			answered := 0
			for _, server := range many {
				if _, err := server.Write(frame(1, 5, 1, []byte{0x88})); err == nil {
					answered++
				}
			}
			if answered != len(many)-2 { // Two gave way to the other peer's.
				t.Errorf(
					"%d of %d waiting connections are answered: more gave way to others of their own peer", answered, len(many),
				)
			}
		})
	}
}

// TestTooSlow sends a request that never ends. It fails if nothing calls sweep.
func TestTooSlow(t *testing.T) {
	p := listen(t, small)
	client, server := p.connect(t, "127.0.0.1")
	if err := pass(t, client, server, append([]byte(preface), frame(1, 4, 1, []byte{0x82})...)); err != nil {
		t.Fatal(err)
	}
	p.pass(limit.Timeout + time.Second)
	program.WaitUntil(t, time.Minute, "a connection that is closed", func() error {
		if p.count(limit.TooSlow) != 1 {
			return errors.New("it is open")
		}
		return nil
	})
	if _, err := server.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still read")
	}
}

// TestHandshakeThatDoesNotEnd announces a handshake message of 64 KiB, which TLS would buffer. It fails if encrypted
// bytes are not bounded.
func TestHandshakeThatDoesNotEnd(t *testing.T) {
	plain, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &port{}
	p.Listener = limit.NewTLS(plain, small, &tls.Config{}, limit.OnClose(p.note))
	t.Cleanup(func() { _ = p.Close() })
	client, server := p.connect(t, "127.0.0.1")
	record := append([]byte{22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xf0}, bytes.Repeat([]byte{1}, 16<<10-4)...)
	go func() { _, _ = client.Write(bytes.Repeat(record, 2)) }()
	_ = server.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := server.Read(make([]byte, 1)); err == nil || p.count(limit.Malformed) != 1 {
		t.Errorf("%v, closed %d", err, p.count(limit.Malformed))
	}
}

func TestWorstCase(t *testing.T) {
	if got := (limit.Bounds{Connections: 3, Rest: 10, Own: 5, Shared: 100}).WorstCase(); got != 145 {
		t.Errorf("worst case %d", got)
	}
}
