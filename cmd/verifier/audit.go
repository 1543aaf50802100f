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
		file, err := os.OpenFile(o.auditLog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			err = allocate(file)
		}
		if err != nil {
			return nil, fmt.Errorf(
				"--audit-log: %w: name a file on a volume that can be written to and has room, or - for standard output", err,
			)
		}
		to = file // It stays open until the process ends.
	}
	return audit.New(audit.Options{
		To: to, SampleAllowed: o.auditSample, Log: logf.Log.WithName("audit"), Registry: registry,
	}), nil
}
