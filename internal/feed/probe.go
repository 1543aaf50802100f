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

// prober proves the freshness of the ApiKeys' stream: it writes a nonce into an annotation of its own on the canary, and
// when that comes back on the watch, everything that was committed before it was written has been applied.
type prober struct {
	client     rest.Interface
	canary     types.NamespacedName
	annotation string
	manager    string
	bound      time.Duration
	clock      func() time.Time
	// instance is this process's own, and pod the UID of its pod, if it is in one.
	instance, pod string
	// applied returns how far the index is.
	applied   func() string
	intervals *intervals
	// written is how many nonces have been.
	written atomic.Uint64

	mu      sync.Mutex
	pending map[string]time.Time
	// confirmed is set once a nonce of this process has come back: whoever else's comes later is not its predecessor's.
	confirmed bool
	rival     rival
}

// rival is another process that writes under this one's name.
type rival struct {
	instance string
	// until is when it refuses everything, unless it writes again; zero if there is none.
	until time.Time
}

func newProber(client rest.Interface, o Options, applied func() string, pace *intervals) *prober {
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
		intervals:  pace,
		pending:    map[string]time.Time{},
	}
}

// send writes a new nonce, and how far the index is.
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
		delete(p.pending, nonce) // It may have been written all the same; then a later one proves more.
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

// signOff writes that this process answers no more. The annotation stays until the controller has seen that, and takes it away: one
// that is merely gone may have been taken away by anybody.
func (p *prober) signOff(ctx context.Context) error {
	record := p.record(rand.Text(), p.clock())
	record.SignedOff = true
	record.MaxStaleness.Duration = probe.Shortest // A controller that doesn't know what it means to sign off waits for no longer.
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
		return fmt.Errorf("writing to the canary ApiKey %s, which is part of the installation (config/verifier): %w", p.canary, err)
	}
	return err
}

// observe takes the canary as it came on the watch. It returns when the nonce on it was written, if it is one of ours.
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

// contest takes in what somebody else says under this process's name. What was there before it spoke is its predecessor's. Whoever
// has spoken since is a rival, until it has signed off or must refuse everything. Either can be partitioned at any time, and the
// other's word then passes for its own, so both refuse everything meanwhile.
func (p *prober) contest(value string, record probe.Record) {
	switch {
	case !p.confirmed:
	case record.SignedOff && value != probe.Gone:
		if record.Instance == p.rival.instance {
			p.rival = rival{}
		}
	default: // Also where an administrator vouches that this process has ended: it has not.
		p.rival = rival{instance: cmp.Or(record.Instance, noInstance), until: p.clock().Add(max(record.Bound(), p.bound))}
	}
}

// noInstance stands for the instance of a rival that has none.
const noInstance = "unknown"

// contested returns the instance of a process whose word may pass for this one's, and until when; nothing if there is none.
func (p *prober) contested() rival {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.clock().Before(p.rival.until) {
		p.rival = rival{}
	}
	return p.rival
}

// oldestPending returns when the oldest nonce that has not come back was written.
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
