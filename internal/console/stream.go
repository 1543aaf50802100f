package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

const (
	// rowsALine is the maximum number of keys in a line.
	rowsALine = 200
	// pingEvery is how often a stream sends a line if there is nothing else to send.
	pingEvery = 10 * time.Second
	// refreshEvery is how often the tenant and the user's rights are read again without an event: not everybody may watch
	// tenants, another tenant may select the namespace too, and an open watch does not check rights.
	refreshEvery = 20 * time.Second
	// tenantAfter is the delay between a change and reading the tenant: its ledger follows the key.
	tenantAfter = time.Second
	// Delays between attempts to reach the API server.
	retryFirst, retryMost = time.Second, 10 * time.Second
	// retryForbidden is the delay where somebody must first grant a right.
	retryForbidden = 20 * time.Second
)

// line is a line of a stream, in JSON. Its type says which fields it has.
type line struct {
	Type    string       `json:"type"`
	Rights  *keys.Rights `json:"rights,omitempty"`
	Tenant  *tenantInfo  `json:"tenant,omitempty"`
	Rows    []*row       `json:"rows,omitempty"`
	Name    string       `json:"name,omitempty"`
	Problem *problem     `json:"problem,omitempty"`
	Message string       `json:"message,omitempty"`
	Result  *result      `json:"result,omitempty"`
}

// writer writes the lines of several goroutines, each at once.
type writer struct {
	mu   sync.Mutex
	w    http.ResponseWriter
	ctrl *http.ResponseController
}

// newWriter begins an answer of lines.
func newWriter(w http.ResponseWriter) *writer {
	out := &writer{w: w, ctrl: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("X-Accel-Buffering", "no") // Proxies of nginx's kind keep lines back otherwise.
	_ = out.ctrl.SetReadDeadline(time.Time{}) // There is nothing more to read, however long the stream lasts.
	return out
}

// write writes a line. It fails if nobody reads.
func (o *writer) write(l *line) error {
	content, err := json.Marshal(l)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.ctrl.SetWriteDeadline(time.Now().Add(answerWithin)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := o.w.Write(append(content, '\n')); err != nil {
		return err
	}
	return o.ctrl.Flush()
}

// stream sends the keys of a namespace while the page is open: all of them, and then each change. It sends errors of
// the API server too, and tries again.
func (c *Console) stream(w http.ResponseWriter, r *http.Request, v *visitor) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(c.stopped, cancel)()
	if !v.ends.IsZero() {
		var ended context.CancelFunc
		ctx, ended = context.WithDeadlineCause(ctx, v.ends, errEnded)
		defer ended()
	}
	s := &keyStream{
		console: c, client: v.client, session: v.session, namespace: r.PathValue("namespace"), out: newWriter(w),
		states: map[string]keystate.State{}, changed: make(chan struct{}, 1),
	}
	var beside sync.WaitGroup
	beside.Go(func() { s.keepRefreshing(ctx, cancel) })
	beside.Go(func() { s.ping(ctx, cancel) })
	s.streamKeys(ctx)
	if errors.Is(context.Cause(ctx), errEnded) {
		_ = s.out.write(&line{Type: "problem", Problem: c.explain(errEnded)})
	}
	cancel()
	beside.Wait()
}

// keyStream is the state of one stream.
type keyStream struct {
	console   *Console
	client    *keys.Client
	session   *session
	namespace string
	out       *writer
	// states are the states that were last sent, by the keys' names.
	states map[string]keystate.State
	// tenantID is the tenant's ID according to the keys.
	tenantID atomic.Value
	// rights are the rights that were last sent.
	rights atomic.Pointer[keys.Rights]
	// again makes follow start over.
	again atomic.Pointer[context.CancelCauseFunc]
	// changed has an element when the tenant should be read again.
	changed chan struct{}
}

// streamKeys sends keys until nobody reads, or the session has ended.
func (s *keyStream) streamKeys(ctx context.Context) {
	wait := retryFirst
	for ctx.Err() == nil {
		err := s.follow(ctx, func() { wait = retryFirst })
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errAgain) {
			continue
		}
		p := s.console.explain(err)
		if s.out.write(&line{Type: "problem", Problem: p}) != nil || p.Reason == reasonSession {
			return
		}
		pause := wait
		if p.Reason == reasonForbidden {
			pause = retryForbidden
		}
		if !sleep(ctx, pause) {
			return
		}
		wait = min(2*wait, retryMost)
	}
}

// errAgain reports that follow has to start over.
var errAgain = errors.New("the user's rights have changed")

// sendRights reads the user's rights, sends them if they have changed, and returns whether the user may still list
// keys.
func (s *keyStream) sendRights(ctx context.Context) (list bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	rights, err := s.client.Rights(ctx, s.namespace)
	if err != nil {
		return false, err
	}
	if before := s.rights.Swap(&rights); before != nil && *before == rights {
		return rights.List, nil
	}
	return rights.List, s.out.write(&line{Type: "rights", Rights: &rights})
}

// follow sends the user's rights, all keys and their changes, until something goes wrong.
func (s *keyStream) follow(ctx context.Context, synced func()) error {
	if _, err := s.sendRights(ctx); err != nil {
		return err
	}
	ctx, again := context.WithCancelCause(ctx)
	defer again(nil)
	s.again.Store(&again)
	if err := s.out.write(&line{Type: "reset"}); err != nil {
		return err
	}
	err := s.client.Follow(ctx, s.namespace, &keys.Follower{
		Listed: s.listed,
		Synced: func() error {
			synced()
			s.refresh()
			return s.out.write(&line{Type: "synced"})
		},
		Changed: func(key *keysv1alpha1.ApiKey) error {
			before := s.states[key.Name]
			shown := s.row(key)
			if shown.State != before {
				s.refresh()
			}
			return s.out.write(&line{Type: "row", Rows: []*row{shown}})
		},
		Gone: func(key *keysv1alpha1.ApiKey) error {
			delete(s.states, key.Name)
			s.refresh()
			return s.out.write(&line{Type: "gone", Name: key.Name})
		},
	})
	if errors.Is(context.Cause(ctx), errAgain) {
		return errAgain
	}
	return err
}

// listed sends keys of the list.
func (s *keyStream) listed(part []keysv1alpha1.ApiKey) error {
	for len(part) > 0 {
		rows := make([]*row, min(len(part), rowsALine))
		for i := range rows {
			rows[i] = s.row(&part[i])
		}
		part = part[len(rows):]
		if err := s.out.write(&line{Type: "rows", Rows: rows}); err != nil {
			return err
		}
	}
	return nil
}

// row returns a key's row, and remembers its state.
func (s *keyStream) row(key *keysv1alpha1.ApiKey) *row {
	shown := newRow(key, s.console.options.Now())
	s.states[key.Name] = shown.State
	if key.Status.TenantID != "" {
		s.tenantID.Store(key.Status.TenantID)
	}
	return shown
}

// refresh requests that the tenant is read again.
func (s *keyStream) refresh() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// keepRefreshing sends the tenant when it has changed, and ends the stream when the user may no longer see it.
func (s *keyStream) keepRefreshing(ctx context.Context, end context.CancelFunc) {
	var sent tenantInfo
	watched := &tenantWatch{client: s.client, changed: s.refresh}
	defer watched.end()
	for {
		err := s.sendTenant(ctx, &sent)
		watched.switchTo(ctx, sent.object)
		if err == nil && s.rights.Load() != nil {
			err = s.checkRights(ctx)
		}
		if err != nil && s.console.explain(err).status() == http.StatusUnauthorized {
			_ = s.out.write(&line{Type: "problem", Problem: s.console.explain(err)})
			end()
			return
		}
		timer := time.NewTimer(s.console.refreshEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-s.changed:
			timer.Stop()
			if !sleep(ctx, tenantAfter) {
				return
			}
		}
	}
}

// checkRights sends the user's rights when they have changed. If the user may no longer list keys, it makes follow
// start over: the open watch would go on until the API server closes it.
func (s *keyStream) checkRights(ctx context.Context) error {
	list, err := s.sendRights(ctx)
	if again := s.again.Load(); err == nil && !list && again != nil {
		(*again)(errAgain)
	}
	return err
}

// ping sends a line now and then, by which a browser knows that the stream is alive. It ends the stream when the user
// has signed out.
func (s *keyStream) ping(ctx context.Context, gone context.CancelFunc) {
	for sleep(ctx, pingEvery) {
		if s.session != nil && s.console.signOuts.ended(s.session) {
			_ = s.out.write(&line{Type: "problem", Problem: s.console.explain(errEnded)})
			gone()
			return
		}
		if s.out.write(&line{Type: "ping"}) != nil {
			gone()
			return
		}
	}
}

// sleep waits, and reports whether the context has not ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
