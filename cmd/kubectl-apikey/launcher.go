package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
)

// launcher is how a browser gets a link that is a secret: by a file that only its user can read. As an argument, everybody on the
// machine could read it in the list of processes, and be there first.
type launcher struct {
	mu     sync.Mutex
	folder string
	closed bool
}

// open has the person's browser open a link. That the browser does, nobody says.
func (d *launcher) open(ctx context.Context, link string) error {
	path, err := d.write(link)
	if err != nil {
		return err
	}
	program, args := opener(runtime.GOOS)
	if program, err = exec.LookPath(program); err != nil {
		return fmt.Errorf("this machine has no %w", err)
	}
	// The browser outlives this program.
	command := exec.CommandContext(context.WithoutCancel(ctx), program, append(args, path)...) //nolint:gosec // One of opener's, and our own file.
	if err := command.Start(); err != nil {
		return err
	}
	go func() { _ = command.Wait() }() // There is nothing to be done about a browser that fails: the link is printed too.
	return nil
}

// write writes the file, and returns its path.
func (d *launcher) write(link string) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return "", errors.New("the page is open already")
	}
	folder, err := os.MkdirTemp("", "kubectl-apikey-") // Nobody else can look into it.
	if err != nil {
		return "", err
	}
	d.folder = folder
	path := filepath.Join(folder, "settings.html")
	return path, os.WriteFile(path, fmt.Appendf(nil, "<!doctype html>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"refresh\" content=\"0; url=%s\">\n<title>API Keys</title>\n",
		html.EscapeString(link)), 0o600)
}

// close removes the file.
func (d *launcher) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.folder != "" {
		_ = os.RemoveAll(d.folder) // The link works no more.
		d.folder = ""
	}
}

// opener is what opens a file with what a person has chosen for its kind.
func opener(system string) (program string, args []string) {
	switch system {
	case "darwin":
		return "open", nil
	case "windows":
		return "rundll32", []string{"url.dll,FileProtocolHandler"}
	}
	return "xdg-open", nil
}
