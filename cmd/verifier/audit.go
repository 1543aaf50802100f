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

// newAudit opens the audit log; nil where there is to be none. One that can't be written to at the start is an error: it was
// asked for. Later, nothing waits for it.
func newAudit(o options, registry prometheus.Registerer) (*audit.Log, error) {
	var to io.Writer
	switch o.auditLog {
	case "":
		return nil, nil //nolint:nilnil // None is asked for.
	case "-":
		// Go ends the process where standard output is a pipe that nobody reads any more.
		signal.Ignore(syscall.SIGPIPE)
		to = os.Stdout
	default:
		file, err := os.OpenFile(o.auditLog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			err = reserve(file)
		}
		if err != nil {
			return nil, fmt.Errorf("--audit-log: %w: name a file on a volume that can be written to and has room, or - for standard output", err)
		}
		to = file // It is open for as long as the process runs.
	}
	return audit.New(audit.Options{To: to, SampleAllowed: o.auditSample, Log: logf.Log.WithName("audit"), Registry: registry}), nil
}
