package feed

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
)

// prober proves the freshness of the stream of ApiKeys. It writes a nonce into its annotation on the canary. When the
// nonce comes back on the watch, everything that was committed before it was written has been applied.
type prober struct {
	client     rest.Interface
	canary     types.NamespacedName
	annotation string
	manager    string
	bound      time.Duration
	clock      func() time.Time
	// instance is a random ID of this process. pod is the UID of its pod, if it is in one.
	instance, pod string
	// applied returns the resourceVersion up to which the index is complete.
	applied   func() string
	intervals *intervals
	// written counts the nonces that were written.
	written atomic.Uint64

	mu      sync.Mutex
	pending map[string]time.Time
	// confirmed is set once a nonce of this process has come back. Another process's record after that is not one that its
	// predecessor left behind.
	confirmed bool
	rival     rival
}

// rival is another process that writes under this process's name.
type rival struct {
	instance string
	// until is when the rival refuses everything, unless it writes again; zero if there is no rival.
	until time.Time
}

func newProber(client rest.Interface, o Options, applied func() string, every *intervals) *prober {
	return &prober{
		client:     client,
		canary:     o.Canary,
		annotation: probe.Annotation(o.Name),
		manager:    "apikey-verifier-" + o.Name,
		bound:      o.MaxStaleness,
		clock:      o.Clock,
		instance:   rand.Text(),
		pod:        o.Pod,
		applied:    applied,
		intervals:  every,
		pending:    map[string]time.Time{},
	}
}

// send writes a new nonce, and the resourceVersion up to which the index is complete.
func (p *prober) send(ctx context.Context) error {
	started := p.clock()
	nonce := rand.Text()
	record := p.record(nonce, started)
	p.mu.Lock()
	p.pending[nonce] = started
	if started.Before(p.rival.until) {
		record.Contested = p.rival.instance
	}
	p.mu.Unlock()
	p.written.Add(1)
	if err := p.apply(ctx, map[string]string{p.annotation: record.String()}); err != nil {
		p.mu.Lock()
		delete(p.pending, nonce) // It may have been written nevertheless. A later nonce then proves more.
		p.mu.Unlock()
		return err
	}
	return nil
}

func (p *prober) record(nonce string, at time.Time) probe.Record {
	return probe.Record{
		Nonce:        nonce,
		Time:         metav1.NewTime(at),
		Applied:      p.applied(),
		MaxStaleness: metav1.Duration{Duration: p.bound},
		Instance:     p.instance,
		Pod:          p.pod,
	}
}

// signOff writes that this process no longer answers. The controller removes the annotation once it has seen that. A
// verifier does not remove its own: a missing annotation proves nothing, because anyone may have removed it.
func (p *prober) signOff(ctx context.Context) error {
	record := p.record(rand.Text(), p.clock())
	record.SignedOff = true
	record.MaxStaleness.Duration = probe.Shortest // An older controller, which doesn't know signedOff, waits this long.
	return p.apply(ctx, map[string]string{p.annotation: record.String()})
}

func (p *prober) apply(ctx context.Context, annotations map[string]string) error {
	body, err := json.Marshal(map[string]any{
		"apiVersion": keysv1alpha1.GroupVersion.String(),
		"kind":       "ApiKey",
		"metadata":   map[string]any{"name": p.canary.Name, "namespace": p.canary.Namespace, "annotations": annotations},
	})
	if err != nil {
		return err
	}
	err = p.client.Patch(types.ApplyYAMLPatchType).
		Namespace(p.canary.Namespace).Resource("apikeys").Name(p.canary.Name).
		Param("fieldManager", p.manager).Param("force", "true").
		Body(body).Do(ctx).Error()
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return fmt.Errorf("writing to the canary ApiKey %s, which is part of the installation (config/verifier): %w",
			p.canary, err)
	}
	return err
}

// observe processes the canary as it came on the watch. If its nonce is one of this process's, it returns when that was
// written.
func (p *prober) observe(canary *keysv1alpha1.ApiKey) (time.Time, bool) {
	p.intervals.replicas.Store(probe.Count(canary))
	value, ok := canary.Annotations[p.annotation]
	if !ok {
		return time.Time{}, false
	}
	record, err := probe.Parse(value)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || record.Instance != p.instance {
		p.contest(value, record)
		return time.Time{}, false
	}
	p.confirmed = true
	written, ok := p.pending[record.Nonce]
	if !ok {
		return time.Time{}, false
	}
	for nonce, t := range p.pending {
		if !t.After(written) {
			delete(p.pending, nonce)
		}
	}
	return written, true
}

// contest processes a record that another process has written under this process's name. Until a nonce of this process
// has come back, the record may be that of its predecessor. After that the other process is a rival, until it has
// signed off or must refuse everything. If one of the two were partitioned, the controller would take the other's
// records for its own. So both refuse everything meanwhile.
func (p *prober) contest(value string, record probe.Record) {
	switch {
	case !p.confirmed:
	case record.SignedOff && value != probe.Gone:
		if record.Instance == p.rival.instance {
			p.rival = rival{}
		}
	default: // This includes an administrator's word that this process has ended: it has not.
		p.rival = rival{
			instance: cmp.Or(record.Instance, noInstance), until: p.clock().Add(max(record.Bound(), p.bound)),
		}
	}
}

// noInstance stands for the instance of a rival that has none.
const noInstance = "unknown"

// contested returns the rival of this process, or the zero value.
func (p *prober) contested() rival {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.clock().Before(p.rival.until) {
		p.rival = rival{}
	}
	return p.rival
}

// oldestPending returns when the oldest nonce that has not come back was written. It is false if there is none.
func (p *prober) oldestPending() (oldest time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.pending {
		if !ok || t.Before(oldest) {
			oldest, ok = t, true
		}
	}
	return oldest, ok
}

// forget gives up on every nonce that has not come back.
func (p *prober) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.pending)
}
