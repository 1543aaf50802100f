package main

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A stopwatch must not wait for a processor itself. On a small machine a normally scheduled poller sees a response 1.5
// ms late in the median, which is three times what is to be measured. So a poller has its own thread, blocks in the
// kernel and not in Go's scheduler, and has priority over other threads if the machine allows that.

// promptly gives the calling goroutine a thread of its own with priority over others, until the returned function is
// called. Without the right to that (CAP_SYS_NICE) the thread is scheduled normally, and its measurements are longer,
// never shorter.
func promptly() (done func()) {
	runtime.LockOSThread()
	thread := unix.Gettid()
	before, err := unix.SchedGetAttr(thread, 0)
	if err != nil {
		return runtime.UnlockOSThread
	}
	first := *before
	first.Policy, first.Priority, first.Nice = unix.SCHED_FIFO, 20, 0
	if err := unix.SchedSetAttr(thread, &first, 0); err != nil {
		return runtime.UnlockOSThread
	}
	return func() {
		if unix.SchedSetAttr(thread, before, 0) == nil {
			runtime.UnlockOSThread()
		} // Otherwise the thread ends with the goroutine.
	}
}

// responseTimeout is how long a blocking line waits for a response.
const responseTimeout = 10 * time.Second

// dialBlocking returns a line whose requests block its thread.
func dialBlocking(address string) (*line, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	wait := unix.NsecToTimeval(responseTimeout.Nanoseconds())
	for _, err := range []error{
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}),
	} {
		if err != nil {
			_ = unix.Close(fd)
			return nil, fmt.Errorf("connecting to %s: %w", address, err)
		}
	}
	connection := socket(fd)
	return &line{connection: connection, reader: bufio.NewReader(connection)}, nil
}

// socket reads from and writes to a blocking file descriptor.
type socket int

// Read implements io.Reader.
func (s socket) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(s), p)
		switch {
		case err == unix.EINTR: // Go's signals interrupt blocking calls.
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Write implements io.Writer.
func (s socket) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n, err := unix.Write(int(s), p[written:])
		if err != nil && err != unix.EINTR {
			return written, err
		}
		written += max(n, 0)
	}
	return written, nil
}

// Close implements io.Closer.
func (s socket) Close() error { return unix.Close(int(s)) }

// pause sleeps. Go rounds a time.Sleep of less than a millisecond up to one; pause does not.
func pause(d time.Duration) {
	t := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.Nanosleep(&t, nil) // A signal may end it early.
}
