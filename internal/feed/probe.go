package feed

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// prober proves the freshness of the ApiKeys' stream: it writes a nonce into an annotation of its own on the canary, and
// when that comes back on the watch, everything that was committed before it was written has been applied.
type prober struct {
	client     rest.Interface
	canary     types.NamespacedName
	annotation string
	manager    string
	clock      func() time.Time

	mu      sync.Mutex
	pending map[string]time.Time
}

// probeRecord is the annotation's value.
type probeRecord struct {
	// Nonce is random: only the watch can bring it back.
	Nonce string `json:"nonce"`
	// Time is when the nonce was written.
	Time metav1.Time `json:"time"`
}

func newProber(client rest.Interface, canary types.NamespacedName, name string, clock func() time.Time) *prober {
	return &prober{
		client:     client,
		canary:     canary,
		annotation: keysv1alpha1.ProbeAnnotationPrefix + name,
		manager:    "apikey-verifier-" + name,
		clock:      clock,
		pending:    map[string]time.Time{},
	}
}

// send writes a new nonce.
func (p *prober) send(ctx context.Context) error {
	started := p.clock()
	nonce := rand.Text()
	p.mu.Lock()
	p.pending[nonce] = started
	p.mu.Unlock()

	record, err := json.Marshal(probeRecord{Nonce: nonce, Time: metav1.NewTime(started)})
	if err != nil {
		return err
	}
	if err := p.apply(ctx, map[string]string{p.annotation: string(record)}); err != nil {
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
	var record probeRecord
	if json.Unmarshal([]byte(canary.Annotations[p.annotation]), &record) != nil {
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
