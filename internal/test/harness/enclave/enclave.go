// Package enclave runs programs in a network and a file system of their own. It is for programs that listen on fixed
// ports or on all addresses, or read files at fixed paths.
//
//	      the test                    │  unshare: user, mount, network and PID namespace
//	client ──▶ Enclave.Dial ── socket ┼──▶ init ──▶ what listens inside
//	what listens outside ◀─── socket ─┼─── init ◀── programs inside, at an address that is shared
//
// Init is the test's own binary, started once more: Main runs it. So a suite that uses this package has
//
//	func TestMain(m *testing.M) {
//		enclave.Main()
//		os.Exit(m.Run())
//	}
//
// It needs unshare and the right to use it, which need.Program(t, need.Namespaces) checks.
package enclave

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// Address is an address of every enclave that is not on loopback, where Kubernetes refuses endpoints. RFC 5737 reserves
// it for documentation.
const Address = "192.0.2.1"

// Options configure an enclave.
type Options struct {
	// Shared maps addresses inside to the addresses outside that they lead to.
	Shared map[string]string
	// Files maps paths inside to the files outside that are copied there. A path must be below a folder that the outside
	// does not have.
	Files map[string]string
	// Programs are started in this order. The enclave ends with the first that ends.
	Programs []Program
}

// Program is a command line.
type Program struct {
	Command []string
	// Env is added to the test's own environment.
	Env []string
	// After is an address inside on which something must listen before the program is started. Blank means at once.
	After string
}

// Enclave is a running enclave.
type Enclave struct {
	*program.Process

	dir string
}

// variable is the environment variable with the path of init's task.
const variable = "APIKEY_TEST_ENCLAVE"

// task is what init has to do.
type task struct {
	Options

	Dir string
}

// in and out are the sockets below the folder of an enclave.
const (
	in  = "in"
	out = "out"
)

// Start starts an enclave, which ends with the test.
func Start(t testing.TB, o Options) *Enclave {
	t.Helper()
	need.Program(t, need.Namespaces)
	dir, err := os.MkdirTemp("", "enclave-") // A socket's path has 107 bytes, and those of t.TempDir are long.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	config, err := json.Marshal(task{o, dir})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "task.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	share(t, filepath.Join(dir, out), o.Shared)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	process := program.Start(t, "/usr/bin/env", variable+"="+file, "unshare", "--map-root-user", "--mount", "--net",
		"--pid", "--fork", "--kill-child", "--", self)
	e := &Enclave{Process: process, dir: dir}
	program.WaitUntil(t, time.Minute, "an enclave", func() error {
		select {
		case <-process.Exited():
			t.Fatalf("the enclave has ended:\n%s", process.Log())
		default:
		}
		_, err := os.Stat(filepath.Join(dir, in))
		return err
	})
	return e
}

// Dial connects to an address inside, from an address inside.
func (e *Enclave) Dial(ctx context.Context, from, to string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(e.dir, in))
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "%s %s\n", from, to); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// share listens on a socket. Each connection's first line is a shared address, and is connected to the address outside.
func share(t testing.TB, socket string, addresses map[string]string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go accept(listener, func(words []string) (net.Conn, error) {
		outside, ok := addresses[strings.Join(words, " ")]
		if !ok {
			return nil, fmt.Errorf("nothing is shared at %q", words)
		}
		return net.DialTimeout("tcp", outside, time.Minute)
	})
}

// accept joins each connection to a socket with the one that its first line asks for.
func accept(listener net.Listener, connect func(words []string) (net.Conn, error)) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			line, err := firstLine(conn)
			if err != nil {
				return
			}
			other, err := connect(strings.Fields(line))
			if err != nil {
				return
			}
			defer other.Close()
			join(conn, other)
		}()
	}
}

// firstLine reads a line, and nothing beyond it.
func firstLine(conn net.Conn) (string, error) {
	line, err := bufio.NewReaderSize(oneByOne{conn}, 16).ReadString('\n')
	return line, err
}

// oneByOne reads a byte at a time.
type oneByOne struct{ io.Reader }

func (r oneByOne) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 1)]) }

// join copies from each connection to the other until either ends.
func join(a, b net.Conn) {
	ended := make(chan struct{}, 2)
	for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			_, _ = io.Copy(ends[0], ends[1]) // That it ends is what matters.
			ended <- struct{}{}
		}()
	}
	<-ended
}

// Main runs init and ends the process, if that was started as an enclave's. Otherwise it returns at once.
func Main() {
	file := os.Getenv(variable)
	if file == "" {
		return
	}
	fmt.Fprintln(os.Stderr, "enclave:", run(file))
	os.Exit(1)
}
