package proxies

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// StartRelay accepts connections until the end of the test, and connects each to another server. It returns its
// address.
func StartRelay(t testing.TB, connect func(ctx context.Context, client net.Conn) (net.Conn, error)) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var connections sync.WaitGroup
	connections.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Go(func() { relay(ctx, client, connect) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		cancel()
		connections.Wait()
	})
	return listener.Addr().String()
}

// relay copies between a client's connection and another one until either ends.
func relay(ctx context.Context, client net.Conn, connect func(ctx context.Context, client net.Conn) (net.Conn, error)) {
	defer client.Close()
	stopClient := context.AfterFunc(ctx, func() { client.Close() })
	defer stopClient()
	other, err := connect(ctx, client)
	if err != nil {
		return
	}
	defer other.Close()
	stopOther := context.AfterFunc(ctx, func() { other.Close() })
	defer stopOther()
	ended := make(chan struct{}, 2)
	for _, ends := range [][2]net.Conn{{client, other}, {other, client}} {
		go func() {
			_, _ = io.Copy(ends[0], ends[1]) // Only the end matters.
			ended <- struct{}{}
		}()
	}
	<-ended
}
