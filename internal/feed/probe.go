package feed

import (
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
	// applied returns how far the index is.
	applied func() string
	pace    *pace
	// written is how many nonces have been.
	written atomic.Uint64

	mu      sync.Mutex
	pending map[string]time.Time
}

func newProber(client rest.Interface, o Options, applied func() string, pace *pace) *prober {
	return &prober{
		client:     client,
		canary:     o.Canary,
		annotation: probe.Annotation(o.Name),
		manager:    "apikey-verifier-" + o.Name,
		bound:      o.MaxStaleness,
		clock:      o.Clock,
		applied:    applied,
		pace:       pace,
		pending:    map[string]time.Time{},
	}
}

// send writes a new nonce, and how far the index is.
func (p *prober) send(ctx context.Context) error {
	started := p.clock()
	nonce := rand.Text()
	p.mu.Lock()
	p.pending[nonce] = started
	p.mu.Unlock()

	record := probe.Record{
		Nonce:        nonce,
		Time:         metav1.NewTime(started),
		Applied:      p.applied(),
		MaxStaleness: metav1.Duration{Duration: p.bound},
	}
	p.written.Add(1)
	if err := p.apply(ctx, map[string]string{p.annotation: record.String()}); err != nil {
		p.mu.Lock()
		delete(p.pending, nonce) // It may have been written all the same; then a later one proves more.
		p.mu.Unlock()
		return err
	}
	return nil
}

// withdraw takes the annotation back, when the verifier stops.
func (p *prober) withdraw(ctx context.Context) error {
	return p.apply(ctx, nil)
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
	p.pace.replicas.Store(probe.Count(canary))
	record, err := probe.Parse(canary.Annotations[p.annotation])
	if err != nil {
		return time.Time{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
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
