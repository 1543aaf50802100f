package enclave_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/enclave"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

func TestMain(m *testing.M) {
	enclave.Main()
	if len(os.Args) > 1 && os.Args[1] == "inside" {
		fmt.Fprintln(os.Stderr, inside())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

const (
	port   = "127.0.0.1:80" // Outside, only root may listen there.
	shared = enclave.Address + ":7"
	path   = "/only-inside/file"
)

// inside sends a client its own address, what a shared address sends, and the content of a file.
func inside() error {
	listener, err := net.Listen("tcp", port) //nolint:noctx // It ends with the process.
	if err != nil {
		return err
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		if strings.HasPrefix(client.RemoteAddr().String(), "127.0.0.1:") { // Init checks whether this listens.
			continue
		}
		other, err := net.Dial("tcp", shared) //nolint:noctx // It ends with the process.
		if err != nil {
			return err
		}
		said, err := io.ReadAll(other)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		host, _, _ := net.SplitHostPort(client.RemoteAddr().String())
		_, err = fmt.Fprintf(client, "%s %s %s", host, said, content)
		return err
	}
}

// TestEnclave checks that a program inside can listen on a port of root's, can be reached there, and reaches a server
// outside.
func TestEnclave(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "outside") // The client sees whether it has come.
			conn.Close()
		}
	}()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e := enclave.Start(t, enclave.Options{
		Shared: map[string]string{shared: listener.Addr().String()}, Files: map[string]string{path: file},
		Programs: []enclave.Program{
			{Command: []string{self, "inside"}},
			{Command: []string{"sleep", "60"}, After: port},
		},
	})
	var said []byte
	program.WaitUntil(t, time.Minute, "a program inside", func() error {
		conn, err := e.Dial(t.Context(), "127.0.0.9", port)
		if err != nil {
			return err
		}
		defer conn.Close()
		said, err = io.ReadAll(conn)
		if err == nil && len(said) == 0 {
			err = fmt.Errorf("it does not listen: %s", e.Log())
		}
		return err
	})
	if string(said) != "127.0.0.9 outside content" {
		t.Errorf("%q", said)
	}
	if _, err := os.Stat(filepath.Dir(path)); err == nil {
		t.Errorf("%s is outside, too", path)
	}
	select { // It has ended, and so the enclave ends.
	case <-e.Exited():
	case <-time.After(time.Minute):
		t.Error("the enclave goes on")
	}
}
