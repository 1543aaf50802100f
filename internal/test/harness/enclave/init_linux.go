package enclave

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// run does the task in a file, and returns why it has ended.
func run(file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var t task
	if err := json.Unmarshal(content, &t); err != nil {
		return err
	}
	if err := errors.Join(loopback("lo", ""), loopback("lo:1", Address)); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if err := files(t); err != nil {
		return fmt.Errorf("files: %w", err)
	}
	if err := t.listen(); err != nil {
		return err
	}
	return t.start()
}

// loopback gives a loopback device an address, unless that is blank, and brings the device up.
func loopback(name, address string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if address != "" {
		if err := request.SetInet4Addr(net.ParseIP(address).To4()); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFADDR, request); err != nil {
			return err
		}
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOOPBACK)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// files changes to a root that has everything of the old one, and the task's files.
func files(t task) error {
	root := filepath.Join(t.Dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("enclave", root, "tmpfs", 0, "mode=0755"); err != nil {
		return err
	}
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := mirror("/"+entry.Name(), filepath.Join(root, entry.Name()), entry); err != nil {
			return err
		}
	}
	for inside, outside := range t.Files {
		content, err := os.ReadFile(outside)
		if err != nil {
			return err
		}
		path := filepath.Join(root, inside)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o600)); err != nil {
			return err
		}
	}
	work, err := os.Getwd()
	if err != nil {
		return err
	}
	return errors.Join(unix.Chroot(root), os.Chdir(work))
}

// mirror makes an entry of the root appear at a path of another root.
func mirror(from, to string, entry os.DirEntry) error {
	switch {
	case entry.Type()&os.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case entry.IsDir():
		if err := os.Mkdir(to, 0o755); err != nil {
			return err
		}
		return unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, "")
	}
	return nil
}

// listen passes on connections: from the shared addresses to the test, and from the test to addresses inside.
func (t task) listen() error {
	dialer := &net.Dialer{}
	for address := range t.Shared {
		listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
		if err != nil {
			return err
		}
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go t.pass(conn, address)
			}
		}()
	}
	// Under another name until somebody listens.
	early := filepath.Join(t.Dir, "early")
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", early)
	if err != nil {
		return err
	}
	go accept(listener, func(words []string) (net.Conn, error) {
		if len(words) != 2 {
			return nil, fmt.Errorf("%q is not two addresses", words)
		}
		own := *dialer
		own.LocalAddr = &net.TCPAddr{IP: net.ParseIP(words[0])}
		return own.Dial("tcp", words[1])
	})
	return os.Rename(early, filepath.Join(t.Dir, in))
}

// pass connects a client of a shared address to the address outside.
func (t task) pass(conn net.Conn, address string) {
	defer conn.Close()
	other, err := net.Dial("unix", filepath.Join(t.Dir, out))
	if err != nil {
		return
	}
	defer other.Close()
	if _, err := fmt.Fprintln(other, address); err != nil {
		return
	}
	join(conn, other)
}

// start starts the programs, and returns an error as soon as one of them has ended.
func (t task) start() error {
	ended := make(chan error, len(t.Programs))
	for _, p := range t.Programs {
		for p.After != "" {
			conn, err := net.Dial("tcp", p.After)
			if err == nil {
				conn.Close()
				break
			}
			select {
			case err := <-ended:
				return err
			case <-time.After(20 * time.Millisecond):
			}
		}
		command := exec.Command(p.Command[0], p.Command[1:]...)
		command.Env = append(os.Environ(), append(p.Env, variable+"=")...)
		command.Stdout, command.Stderr = os.Stdout, os.Stderr
		if err := command.Start(); err != nil {
			return err
		}
		go func() { ended <- fmt.Errorf("%s has ended: %w", p.Command[0], command.Wait()) }()
	}
	return <-ended
}
