// Package audit writes what was decided, and about whom, one JSON object a line.
//
//	decision ──▶ queue, bounded ──▶ one goroutine ──▶ file or standard output
//	             full: dropped       slow or failing:
//	             and counted         dropped and counted
//
// A decision never waits for it and never fails because of it. An entry says nothing that the client's token could be made
// out from, see redact.
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
	// queueLength is how many entries wait for a slow writer before further ones are dropped.
	queueLength = 4096
	// batchSize is how many bytes are written at a time, about.
	batchSize = 64 << 10
)

// Options configure a Log.
type Options struct {
	// To is written to, in whole lines.
	To io.Writer
	// SampleAllowed is the part of the requests that pass which is written: 1 is all of them. Refusals always are.
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

// event is what is queued: as little work as possible is done before.
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
	// Tenant, Key (namespace/name) and Credential (its public id) are those of the key, where the token is one's.
	Tenant     string `json:"tenant,omitempty"`
	Key        string `json:"key,omitempty"`
	Credential string `json:"credential,omitempty"`
	// Method, Host and Path are what the client asked for, decoded and without the query.
	Method string `json:"method,omitempty"`
	Host   string `json:"host,omitempty"`
	Path   string `json:"path,omitempty"`
	// RequiredScopes are those that the proxy's configuration asks for, and MissingScopes those that the key lacks.
	RequiredScopes []keysv1alpha1.Scope `json:"requiredScopes,omitempty"`
	MissingScopes  string               `json:"missingScopes,omitempty"`
	// Client is the client's address, where it is known.
	Client string `json:"client,omitempty"`
}

// Results of an entry, as they are counted.
const (
	resultWritten   = "written"
	resultQueueFull = "queue_full"
	resultFailed    = "write_failed"
)

// New returns a log that takes entries, and writes them while it runs. It registers its metrics.
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
		options: options, queue: make(chan event, queueLength), entries: entries, dropped: entries.WithLabelValues(resultQueueFull),
	}
}

// Record takes down a decision. It never waits.
func (l *Log) Record(at time.Time, surface string, request *verify.Request, decision verify.Decision) {
	if decision.Outcome == verify.Allow && l.options.SampleAllowed < 1 && rand.Float64() >= l.options.SampleAllowed { //nolint:gosec // Nothing secret.
		return
	}
	e := event{
		at: at, surface: surface, outcome: decision.Outcome, reason: decision.Reason, missing: decision.MissingScope, grant: decision.Grant,
		method: limit(request.Method, maxMethod), host: limit(request.Host, maxHost), target: limit(request.Target, maxTarget),
		client: request.Client, required: request.FixedScopes,
	}
	select {
	case l.queue <- e:
	default:
		l.dropped.Inc()
	}
}

// limit keeps a client from filling the memory with what is queued.
func limit(s string, length int) string {
	if len(s) > length {
		return strings.Clone(s[:length])
	}
	return s
}

// Start writes until the context ends, and then what is still queued, unless that takes longer than patience.
func (l *Log) Start(ctx context.Context, patience time.Duration) {
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
	// A writer that hangs is left behind: nobody waits for an audit log.
	timer := time.NewTimer(patience)
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

// writer collects whole lines and writes them.
type writer struct {
	log     *Log
	lines   []byte
	count   int
	failing bool
}

func (w *writer) add(e event) {
	line, err := json.Marshal(e.entry())
	if err != nil {
		panic(err) // Every field is one that can be marshalled.
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
		// The line that may have been written in part ends here.
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
