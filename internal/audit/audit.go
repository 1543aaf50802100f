// Package audit writes an audit log of decisions, one JSON object a line.
//
//	decision ──▶ queue, bounded ──▶ one goroutine ──▶ file or standard output
//	             full: dropped       slow or failing:
//	             and counted         dropped and counted
//
// A decision never waits for the log and never fails because of it. No entry contains a part of a token: see redact.
package audit

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	// queueLength is how many entries are queued for a slow writer before entries are dropped.
	queueLength = 4096
	// batchSize is about how many bytes are written at a time.
	batchSize = 64 << 10
)

// Options configure a Log.
type Options struct {
	// To is where the log goes, in whole lines.
	To io.Writer
	// SampleAllowed is the fraction of allowed requests that is written: 1 means all. Refusals are always written.
	SampleAllowed float64
	Log           logr.Logger
	Registry      prometheus.Registerer
}

// Log is an audit log.
type Log struct {
	options Options
	queue   chan event
	entries *prometheus.CounterVec
	dropped prometheus.Counter
}

// event is a queued decision. It is made into an Entry only when it is written, so that requests do as little work as
// possible.
type event struct {
	at       time.Time
	surface  string
	outcome  verify.Outcome
	reason   verify.Reason
	missing  string
	grant    index.Grant
	method   string
	host     string
	target   string
	client   netip.Addr
	required []keysv1alpha1.Scope
}

// Entry is a line of the log.
type Entry struct {
	Time    time.Time `json:"time"`
	Surface string    `json:"surface"`
	// Outcome is allow, unauthorized, forbidden or unavailable, and Reason why.
	Outcome string `json:"outcome"`
	Reason  string `json:"reason"`
	// Tenant, Key (namespace/name) and Credential (its public ID) are those of the key that the token belongs to, if any.
	Tenant     string `json:"tenant,omitempty"`
	Key        string `json:"key,omitempty"`
	Credential string `json:"credential,omitempty"`
	// Method, Host and Path are what the client requested, decoded and without the query.
	Method string `json:"method,omitempty"`
	Host   string `json:"host,omitempty"`
	Path   string `json:"path,omitempty"`
	// RequiredScopes are the scopes that the proxy's configuration requires, and MissingScopes those that the key lacks.
	RequiredScopes []keysv1alpha1.Scope `json:"requiredScopes,omitempty"`
	MissingScopes  string               `json:"missingScopes,omitempty"`
	// Client is the client's address, if it is known.
	Client string `json:"client,omitempty"`
}

// Values of the metric's label.
const (
	resultWritten   = "written"
	resultQueueFull = "queue_full"
	resultFailed    = "write_failed"
)

// New returns a log and registers its metrics. Entries are queued until Start writes them.
func New(options Options) *Log {
	entries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "apikey_verifier_audit_entries_total",
		Help: "Entries of the audit log, by what became of them.",
	}, []string{"result"})
	options.Registry.MustRegister(entries)
	for _, result := range []string{resultWritten, resultQueueFull, resultFailed} {
		entries.WithLabelValues(result)
	}
	return &Log{
		options: options, queue: make(chan event, queueLength),
		entries: entries, dropped: entries.WithLabelValues(resultQueueFull),
	}
}

// Record queues a decision. It never waits.
func (l *Log) Record(at time.Time, surface string, request *verify.Request, decision verify.Decision) {
	if share := l.options.SampleAllowed; decision.Outcome == verify.Allow && share < 1 {
		if rand.Float64() >= share { //nolint:gosec // A sample needs no secure random numbers.
			return
		}
	}
	e := event{
		at: at, surface: surface,
		outcome: decision.Outcome, reason: decision.Reason, missing: decision.MissingScope, grant: decision.Grant,
		method: limit(request.Method, maxMethod), host: limit(request.Host, maxHost),
		target: limit(request.Target, maxTarget),
		client: request.Client, required: request.FixedScopes,
	}
	select {
	case l.queue <- e:
	default:
		l.dropped.Inc()
	}
}

// limit shortens a string, so that clients can't fill the queue's memory.
func limit(s string, length int) string {
	if len(s) > length {
		return strings.Clone(s[:length])
	}
	return s
}

// Start writes entries until the context ends. Then it writes those still queued, for no longer than the timeout.
func (l *Log) Start(ctx context.Context, drainTimeout time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.write(ctx)
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	// A writer that hangs is abandoned: nothing waits for an audit log.
	timer := time.NewTimer(drainTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		l.options.Log.Info("The audit log can't be written to: entries are lost", "entries", len(l.queue))
	}
}

func (l *Log) write(ctx context.Context) {
	w := &writer{log: l}
	for {
		select {
		case e := <-l.queue:
			w.add(e)
		case <-ctx.Done():
			for len(l.queue) > 0 {
				w.add(<-l.queue)
			}
			w.flush()
			return
		}
		for len(w.lines) < batchSize && len(l.queue) > 0 {
			w.add(<-l.queue)
		}
		w.flush()
	}
}

// writer collects lines and writes them together.
type writer struct {
	log     *Log
	lines   []byte
	count   int
	failing bool
}

func (w *writer) add(e event) {
	line, err := json.Marshal(e.entry())
	if err != nil {
		panic(err) // Every field can be marshalled.
	}
	w.lines = append(append(w.lines, line...), '\n')
	w.count++
}

func (w *writer) flush() {
	if w.count == 0 {
		return
	}
	_, err := w.log.options.To.Write(w.lines)
	w.lines = w.lines[:0]
	if err != nil {
		w.log.entries.WithLabelValues(resultFailed).Add(float64(w.count))
		if !w.failing {
			w.log.options.Log.Error(err, "Can't write to the audit log: entries are lost")
		}
		// End the line that may have been written in part.
		w.lines = append(w.lines, '\n')
	} else {
		w.log.entries.WithLabelValues(resultWritten).Add(float64(w.count))
		if w.failing {
			w.log.options.Log.Info("Writes to the audit log again")
		}
	}
	w.failing, w.count = err != nil, 0
}

func (e *event) entry() Entry {
	entry := Entry{
		Time: e.at.UTC(), Surface: e.surface, Outcome: e.outcome.String(), Reason: string(e.reason),
		Method: clean(e.method, maxMethod), Host: clean(e.host, maxHost), Path: path(e.target),
		RequiredScopes: e.required, MissingScopes: e.missing,
	}
	if e.grant.Known() {
		entry.Tenant, entry.Key, entry.Credential = e.grant.Tenant.String(), e.grant.Name, e.grant.CredentialID
	}
	if e.client.IsValid() {
		entry.Client = e.client.String()
	}
	return entry
}
