package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// workspace has the demo's files, all below bin/dev: logs, which are kept, and everything else, which is removed.
type workspace struct {
	root string // of the checkout
	bin  string // bin, or what BIN names
	dev  string // bin/dev
	logs string // bin/dev/logs/<mode>
	tmp  string // bin/dev/<mode>.tmp, which is also the TMPDIR of every child

	lock *os.File
}

// openWorkspace prepares the folders for a mode, "demo" or "run". One of each can run at the same time.
func openWorkspace(mode string) (*workspace, error) {
	root := controlplane.Root()
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		return nil, fmt.Errorf("this is not run in a checkout: use \"make %s\": %w", mode, err)
	}
	dev := filepath.Join(root, "bin", "dev")
	bin := cmp.Or(os.Getenv("BIN"), filepath.Join(root, "bin"))
	w := &workspace{
		root: root, bin: bin, dev: dev, logs: filepath.Join(dev, "logs", mode), tmp: filepath.Join(dev, mode+".tmp"),
	}
	if err := os.MkdirAll(dev, 0o755); err != nil {
		return nil, err
	}
	if err := w.acquire(filepath.Join(dev, mode+".lock")); err != nil {
		return nil, fmt.Errorf("another \"make %s\" seems to run in this checkout: locking it: %w", mode, err)
	}
	// The last run has left its logs, and all its files if it was killed. It has ended, because the lock is free.
	if err := errors.Join(
		os.RemoveAll(w.logs), os.MkdirAll(w.logs, 0o755),
		os.RemoveAll(w.tmp), os.MkdirAll(w.tmp, 0o700),
	); err != nil {
		return nil, errors.Join(err, w.close())
	}
	if err := w.steer(); err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// acquire takes a lock that the kernel releases when the process ends.
func (w *workspace) acquire(path string) (err error) {
	if w.lock, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	if err = syscall.Flock(int(w.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(err, w.lock.Close())
	}
	return nil
}

// steer makes this process and everything that it starts keep their files here.
func (w *workspace) steer() error {
	return errors.Join(
		os.Setenv("TMPDIR", w.tmp),
		os.Setenv("KUBECACHEDIR", filepath.Join(w.tmp, "kubectl")),
		os.Setenv("KUBERC", "off"),          // The user's own aliases and defaults are not what the demo shows.
		os.Unsetenv("USE_EXISTING_CLUSTER"), // envtest would use any cluster that it finds.
	)
}

// childEnv returns the environment of the controller, the verifier and the proxy: no cluster's credentials except those
// that they are given, and no home to write to.
func (w *workspace) childEnv(extra ...string) []string {
	var env []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if name != "KUBECONFIG" && name != "HOME" && !strings.HasPrefix(name, "XDG_") {
			env = append(env, variable)
		}
	}
	return append(append(env, "HOME="+w.tmp, "XDG_CONFIG_HOME="+w.tmp, "XDG_DATA_HOME="+w.tmp), extra...)
}

// log returns the path of a component's log.
func (w *workspace) log(program string) string {
	return filepath.Join(w.logs, program+".log")
}

// relative returns a path as it is typed at the top of the checkout.
func (w *workspace) relative(path string) string {
	if relative, err := filepath.Rel(w.root, path); err == nil {
		return relative
	}
	return path
}

// close removes everything except the logs and the lock's empty file, which another process may just have opened.
func (w *workspace) close() error {
	return errors.Join(os.RemoveAll(w.tmp), w.lock.Close())
}

// freeAddresses returns loopback addresses that nobody listens on: with the preferred port if it is free and not 0, or
// with any port. All are held until the last is found, so that no two are the same.
func freeAddresses(preferred ...int) ([]string, error) {
	var free []string
	var held []net.Listener
	defer func() {
		for _, listener := range held {
			_ = listener.Close() // It was never used.
		}
	}()
	for _, port := range preferred {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
				return nil, err
			}
		}
		held = append(held, listener)
		free = append(free, listener.Addr().String())
	}
	return free, nil
}
