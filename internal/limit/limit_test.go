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

// port is a listener whose connections are read by the test, and the reasons for which it closed some.
type port struct {
	*limit.Listener
	// now stands still until it is told to pass, in nanoseconds.
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
	p.Listener = limit.New(plain, bounds, limit.OnClose(p.note))
	p.pass(time.Hour)
	p.SetNow(p.now.Load)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// note counts a connection that was closed.
func (p *port) note(reason limit.Reason) { p.closed[slices.Index(limit.Reasons, reason)].Add(1) }

// pass has time pass.
func (p *port) pass(d time.Duration) { p.now.Add(int64(d)) }

// connect returns both ends of a new connection from an address.
func (p *port) connect(t *testing.T, from string) (client, server net.Conn) {
	t.Helper()
	client, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext(t.Context(), "tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = p.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}

// pass has bytes come, and returns the error of who reads them.
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

// TestSharedMemory has connections hold more together than there is: the one that was first is stuck for the longest time, and goes.
func TestSharedMemory(t *testing.T) {
	p := listen(t, small)
	first, firstServer := p.connect(t, "127.0.0.1")
	if err := pass(t, first, firstServer, append([]byte(preface), frame(1, 4, 1, []byte{0x82})...)); err != nil {
		t.Fatal(err)
	}
	half := bytes.Repeat(frame(0, 0, 1, make([]byte, 16<<10)), 36)
	if err := pass(t, first, firstServer, half); err != nil {
		t.Fatalf("within what is shared: %v", err)
	}
	p.pass(150 * time.Millisecond) // Which is no longer recent.
	second, secondServer := p.connect(t, "127.0.0.1")
	if err := pass(t, second, secondServer, append(append([]byte(preface), frame(1, 4, 1, []byte{0x82})...), half...)); err != nil {
		t.Errorf("who comes second: %v", err)
	}
	if _, err := firstServer.Read(make([]byte, 1)); err == nil || p.count(limit.TooMuchMemory) != 1 {
		t.Errorf("who is stuck stays: %v, closed %d", err, p.count(limit.TooMuchMemory))
	}
	if err := pass(t, second, secondServer, half); !errors.Is(err, limit.ErrExceeded) {
		t.Errorf("more than all that is shared: %v", err)
	}
	third, thirdServer := p.connect(t, "127.0.0.1")
	if err := pass(t, third, thirdServer, append(append([]byte(preface), frame(1, 4, 1, []byte{0x82})...), half...)); err != nil {
		t.Errorf("what was held is not given back: %v", err)
	}
}

// TestWhoIsStuckGoesFirst has no memory left: of one that holds a little and sends no more, and one that holds more and waits for its
// answers, the first goes. It fails where makeRoom asks only who holds the most.
func TestWhoIsStuckGoesFirst(t *testing.T) {
	bounds := small
	bounds.Lasting = true // So that nobody is stuck who waits for an answer.
	p := listen(t, bounds)
	begin := append([]byte(preface), frame(1, 4, 1, []byte{0x82})...)
	body := frame(0, 0, 1, make([]byte, 16<<10))
	stuck, stuckServer := p.connect(t, "127.0.0.1")
	if err := pass(t, stuck, stuckServer, append(bytes.Clone(begin), bytes.Repeat(body, 6)...)); err != nil {
		t.Fatal(err)
	}
	waits, waitsServer := p.connect(t, "127.0.0.1")
	if err := pass(t, waits, waitsServer, append(append(bytes.Clone(begin), bytes.Repeat(body, 36)...), frame(0, 1, 1, nil)...)); err != nil {
		t.Fatal(err)
	}
	p.pass(150 * time.Millisecond) // Which is no longer recent.
	next, nextServer := p.connect(t, "127.0.0.1")
	if err := pass(t, next, nextServer, append(bytes.Clone(begin), bytes.Repeat(body, 18)...)); err != nil {
		t.Errorf("who comes next: %v", err)
	}
	if _, err := stuckServer.Read(make([]byte, 1)); err == nil || p.count(limit.TooMuchMemory) != 1 {
		t.Errorf("who is stuck stays: %v, closed %d", err, p.count(limit.TooMuchMemory))
	}
	if _, err := waitsServer.Write(frame(1, 5, 1, []byte{0x88})); err != nil {
		t.Errorf("who waits for its answer: %v", err)
	}
}

// TestAnsweredRequestsHoldNothing has a connection be asked far more than there is to share, one request after another.
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
		for _, part := range [][]byte{answer[:5], answer[5:12], answer[12:]} { // However it is written.
			if _, err := server.Write(part); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestHTTP2Refuses has frames come that no client in good faith sends.
func TestHTTP2Refuses(t *testing.T) {
	open := append([]byte(preface), frame(1, 0, 1, []byte{0x82})...)
	for name, test := range map[string]struct {
		bytes []byte
		want  limit.Reason
	}{
		"a long frame":                 {append([]byte(preface), frame(6, 0, 0, make([]byte, 16<<10+1))...), limit.Malformed},
		"a header without end":         {append(bytes.Clone(open), bytes.Repeat(frame(9, 0, 1, make([]byte, 16<<10)), 3)...), limit.Malformed},
		"a header of empty frames":     {append(bytes.Clone(open), bytes.Repeat(frame(9, 0, 1, nil), 5000)...), limit.Malformed},
		"many requests":                {requests(41, []byte{0x82}, 0), limit.Malformed},
		"a message that doesn't end":   {append(requests(1, []byte{0x82}, 0), bytes.Repeat(frame(0, 0, 1, make([]byte, 16<<10)), 70)...), limit.TooMuchMemory},
		"a message byte by byte":       {append(requests(1, []byte{0x82}, 0), bytes.Repeat(frame(0, 0, 1, []byte{1}), 3000)...), limit.TooMuchMemory},
		"indexed fields":               {requests(40, bytes.Repeat([]byte{0xbe}, 500), 0), limit.TooMuchMemory},
		"requests that are given up":   {requests(40, bytes.Repeat([]byte{0xbe}, 500), 1), limit.TooMuchMemory},
		"pings that are not answered":  {append([]byte(preface), bytes.Repeat(frame(6, 0, 0, make([]byte, 8)), 4500)...), limit.TooMuchMemory},
		"settings that are not":        {append([]byte(preface), bytes.Repeat(frame(4, 0, 0, nil), 4500)...), limit.TooMuchMemory},
		"windows that grow by nothing": {append([]byte(preface), bytes.Repeat(frame(8, 0, 0, make([]byte, 4)), 4500)...), limit.TooMuchMemory},
		"dependence on itself":         {append([]byte(preface), bytes.Repeat(frame(2, 0, 1, []byte{0, 0, 0, 1, 0}), 4500)...), limit.TooMuchMemory},
		"data for one that is closed":  {append(requests(1, []byte{0x82}, 1), bytes.Repeat(frame(0, 0, 1, nil), 4500)...), limit.TooMuchMemory},
		"the same, of a literal field": {requests(40, bytes.Repeat([]byte{0x10, 1, 'a', 0}, 250), 1), limit.TooMuchMemory},
	} {
		t.Run(name, func(t *testing.T) {
			p := listen(t, small)
			client, server := p.connect(t, "127.0.0.1")
			if err := pass(t, client, server, test.bytes); !errors.Is(err, limit.ErrExceeded) || p.count(test.want) != 1 {
				t.Errorf("%v, of these reasons: %v", err, p.count(test.want))
			}
		})
	}
}

// TestHTTP2Allows has frames come that proxies send as long as they like.
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

// TestHTTP2Strays has headers come for streams that are closed: each holds as much as any, until it ends.
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
		for range 3 { // These end, and leave nothing.
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

// requests are some that don't end, each of which may be given up at once.
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

// TestHTTP1 counts header fields, and forgets them once a request is done; but not what came of the next one.
func TestHTTP1(t *testing.T) {
	bounds := small
	bounds.HTTP2, bounds.Shared = false, 64<<10
	short := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	tiny := bytes.Repeat([]byte("a:\n"), 300) // 40 KiB
	for name, test := range map[string]struct {
		rounds []string
		bad    bool
	}{
		"one after another":                {[]string{short, short, short}, false},
		"long ones one after another":      {[]string{"GET / HTTP/1.1\r\n" + string(tiny) + "a:\r\n\r\n", "GET / HTTP/1.1\r\n" + string(tiny) + "a:\r\n\r\n", "GET / HTTP/1.1\r\n" + string(tiny) + "a:\r\n\r\n"}, false},
		"too many fields":                  {[]string{"GET / HTTP/1.1\r\n" + string(tiny) + string(tiny) + string(tiny)}, true},
		"the next with the one before":     {[]string{short + string(tiny), string(tiny), string(tiny)}, true},
		"HTTP/2's preface, but one letter": {[]string{"PRI * HTTP/2.1\r\n", string(tiny) + string(tiny) + string(tiny)}, true},
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

// TestConnections has more connections come than there may be: those go that were of no use.
func TestConnections(t *testing.T) {
	p := listen(t, small)
	useful, usefulServer := p.connect(t, "127.0.0.2")
	if err := pass(t, useful, usefulServer, append([]byte(preface), frame(1, 5, 1, []byte{0x82})...)); err != nil {
		t.Fatal(err)
	}
	if _, err := usefulServer.Write(frame(1, 5, 1, []byte{0x88})); err != nil {
		t.Fatal(err)
	}
	p.pass(150 * time.Millisecond) // Which is no longer recent.
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
		t.Errorf("the one that is used: %v", err)
	}
	if _, err := idle[0].Read(make([]byte, 1)); err == nil {
		t.Error("the oldest that was never used is open")
	}
}

// TestConnectionsOfPeers has a peer take all connections, and more: another's stay, whether it has asked yet or waits for its
// answer, and whatever the greedy peer has done on its own.
func TestConnectionsOfPeers(t *testing.T) {
	for name, greedy := range map[string][]byte{
		"idle":            nil,
		"waiting as well": append([]byte(preface), frame(1, 5, 1, []byte{0x82})...),
	} {
		t.Run(name, func(t *testing.T) {
			p := listen(t, small)
			open := func() {
				client, server := p.connect(t, "127.0.0.2")
				if err := pass(t, client, server, greedy); err != nil {
					t.Fatal(err)
				}
			}
			for range small.Connections {
				open()
			}
			_, handshaking := p.connect(t, "127.0.0.3")
			client, asking := p.connect(t, "127.0.0.3")
			if err := pass(t, client, asking, append([]byte(preface), frame(1, 5, 1, []byte{0x82})...)); err != nil {
				t.Fatal(err)
			}
			go func() { // Some of which may be refused.
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
			for what, server := range map[string]net.Conn{"that has not asked": handshaking, "that waits for its answer": asking} {
				if _, err := server.Write(frame(1, 5, 1, []byte{0x88})); err != nil {
					t.Errorf("the one %s: %v", what, err)
				}
			}
		})
	}
}

// TestTooSlow has a request begin and never end. It fails where nobody sweeps.
func TestTooSlow(t *testing.T) {
	p := listen(t, small)
	client, server := p.connect(t, "127.0.0.1")
	if err := pass(t, client, server, append([]byte(preface), frame(1, 4, 1, []byte{0x82})...)); err != nil {
		t.Fatal(err)
	}
	p.pass(limit.Patience + time.Second)
	program.WaitUntil(t, time.Minute, "a connection that is closed", func() error {
		if p.count(limit.TooSlow) != 1 {
			return errors.New("it is open")
		}
		return nil
	})
	if _, err := server.Read(make([]byte, 1)); err == nil {
		t.Error("it is read on")
	}
}

// TestHandshakeThatDoesNotEnd has a client announce a handshake message of 64 KiB, of which TLS would keep all. It fails where what is
// encrypted has no bound.
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
