package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/nexuscommerce/apikey-operator/internal/audit"
)

// newAudit opens the audit log, or returns nil if the flags ask for none. It is an error if it can't be written to at
// the start. Later, nothing waits for it.
func newAudit(o options, registry prometheus.Registerer) (*audit.Log, error) {
	var to io.Writer
	switch o.auditLog {
	case "":
		return nil, nil //nolint:nilnil // The flags ask for none.
	case "-":
		// Without this, Go ends the process when the reader of standard output has closed its pipe.
		signal.Ignore(syscall.SIGPIPE)
		to = os.Stdout
	default:
		file, err := openAudit(o.auditLog)
		if err == nil {
			err = allocate(file)
		}
		if err != nil {
			return nil, fmt.Errorf(
				"--audit-log: %w: name a file on a volume that can be written to and has room, or - for standard output", err,
			)
		}
		to = &auditFile{path: o.auditLog, file: file}
	}
	return audit.New(audit.Options{
		To: to, SampleAllowed: o.auditSample, Log: logf.Log.WithName("audit"), Registry: registry,
	}), nil
}

func openAudit(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // The file that the flag names.
}

// auditFile writes to a file by its name: if the file was renamed or removed since the last write, to a new one. So it
// can be rotated by renaming without losing a line. It stays open until the process ends.
type auditFile struct {
	path string
	file *os.File
}

// Write implements io.Writer.
func (a *auditFile) Write(lines []byte) (int, error) {
	if a.moved() {
		if next, err := openAudit(a.path); err == nil { // Otherwise the lines go to where they went before.
			_ = a.file.Close()
			a.file = next
		}
	}
	return a.file.Write(lines)
}

// moved reports whether the open file is no longer the one at the path.
func (a *auditFile) moved() bool {
	at, err := os.Stat(a.path)
	if err != nil {
		return os.IsNotExist(err)
	}
	open, err := a.file.Stat()
	return err == nil && !os.SameFile(at, open)
}
