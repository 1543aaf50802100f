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

// launcher opens a secret link in the browser, by a file that only the user can read. If the link were an argument,
// every account of the machine could read it in the list of processes, and use it first.
type launcher struct {
	mu     sync.Mutex
	folder string
	closed bool
}

// open starts the user's browser with a link. Whether the browser shows it is not known.
func (l *launcher) open(ctx context.Context, link string) error {
	path, err := l.write(link)
	if err != nil {
		return err
	}
	program, args := opener(runtime.GOOS)
	if program, err = exec.LookPath(program); err != nil {
		return fmt.Errorf("this machine has no %w", err)
	}
	// The browser outlives this program.
	//nolint:gosec // The program is one of opener's, and the file our own.
	command := exec.CommandContext(context.WithoutCancel(ctx), program, append(args, path)...)
	if err := command.Start(); err != nil {
		return err
	}
	go func() { _ = command.Wait() }() // There is nothing to be done about a browser that fails: the link is printed too.
	return nil
}

// write writes the file, and returns its path.
func (l *launcher) write(link string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return "", errors.New("the page is open already")
	}
	folder, err := os.MkdirTemp("", "kubectl-apikey-") // Nobody else can look into it.
	if err != nil {
		return "", err
	}
	l.folder = folder
	path := filepath.Join(folder, "settings.html")
	return path, os.WriteFile(
		path,
		fmt.Appendf(nil,
			"<!doctype html>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"refresh\" content=\"0; url=%s\">\n<title>API "+
				"Keys</title>\n", html.EscapeString(link)),
		0o600,
	)
}

// close removes the file, because the link no longer works.
func (l *launcher) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.folder != "" {
		_ = os.RemoveAll(l.folder) // The link works no more.
		l.folder = ""
	}
}

// opener returns the system's program that opens a file in the user's browser.
func opener(system string) (program string, args []string) {
	switch system {
	case "darwin":
		return "open", nil
	case "windows":
		return "rundll32", []string{"url.dll,FileProtocolHandler"}
	}
	return "xdg-open", nil
}
