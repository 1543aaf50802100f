package usage

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/restclient"
)

const (
	// fieldManager is the same for all verifiers. Different replicas write a key over time, and with a manager for each
	// of them managedFields would only ever grow.
	fieldManager = "apikey-verifier"
	// poll is how often the slots are read.
	poll = 200 * time.Millisecond
	// timeout is how long a write may take.
	timeout = 5 * time.Second
	// maxInFlight is how many writes may be under way at a time.
	maxInFlight = 4
	// minBackoff and maxBackoff bound how long nothing is written after the API server has failed, and how long one key
	// is not written after its own write has failed.
	minBackoff, maxBackoff = time.Second, time.Minute
)

// Options configure a Recorder.
type Options struct {
	// Config reaches the API server as the verifier's account.
	Config *rest.Config
	// Canary is the ApiKey that verifiers write their probes to.
	Canary types.NamespacedName
	// Name is the name of this verifier, unique among those that run.
	Name string
	// Budget is how many writes per second all verifiers together may make. With 0 nothing is written.
	Budget float64
	Log    logr.Logger
	// Clock is time.Now except in tests.
	Clock    func() time.Time
	Registry prometheus.Registerer
}

// patcher sends a merge patch of a status, and returns the resulting object.
type patcher func(ctx context.Context, name string, patch []byte) (*keysv1alpha1.ApiKey, error)

// New returns a recorder and registers its metrics. It writes nothing until it is started.
func New(options Options) (*Recorder, error) {
	patch, err := patchThrough(options.Config)
	if err != nil {
		return nil, err
	}
	return newRecorder(options, patch), nil
}

func newRecorder(options Options, patch patcher) *Recorder {
	r := &Recorder{
		options: options,
		patch:   patch,
		objects: map[string]*object{},
		idle:    newIdleStore(),
		peers:   newPeers(options.Name),
	}
	r.metrics = newMetrics(r, options.Registry)
	return r
}

// patchThrough returns a patcher with its own connections, so that writes never delay the feed.
func patchThrough(config *rest.Config) (patcher, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // The budget limits it.
	client, err := restclient.ForGroup(config, keysv1alpha1.GroupVersion, keysv1alpha1.AddToScheme)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, fullName string, patch []byte) (*keysv1alpha1.ApiKey, error) {
		key := &keysv1alpha1.ApiKey{}
		namespace, name, _ := strings.Cut(fullName, "/")
		err := client.Patch(types.MergePatchType).MaxRetries(0).
			Namespace(namespace).Resource("apikeys").Name(name).SubResource("status").
			Param("fieldManager", fieldManager).
			Body(patch).Do(ctx).Into(key)
		return key, err
	}, nil
}

// Start writes until the context ends.
func (r *Recorder) Start(ctx context.Context) {
	r.write(ctx, func() bool { return false })
}

// Flush writes everything that is pending, within the budget and without waiting for other replicas. It returns when
// nothing is left, the context ends or the API server can't be reached.
func (r *Recorder) Flush(ctx context.Context) {
	r.write(ctx, func() bool {
		r.collect()
		for r.skipGrace() {
			continue
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.queue.len()+r.inFlight == 0 || r.failures > 1
	})
}

// skipGrace makes a batch of objects ready that would wait for other replicas, and reports whether there are more.
func (r *Recorder) skipGrace() (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.queue.promote(r.options.Clock().Add(lastGrace), batchSize)
}

// write writes what is due, within this replica's share of the budget, until done reports true or the context ends.
func (r *Recorder) write(ctx context.Context, done func() bool) {
	if r.options.Budget <= 0 {
		return
	}
	var writes sync.WaitGroup
	defer writes.Wait()
	semaphore := make(chan struct{}, maxInFlight)
	for ctx.Err() == nil && !done() {
		pause(ctx, r.gap())
		select {
		case <-ctx.Done():
			return
		case semaphore <- struct{}{}:
		}
		call := r.begin()
		if call == nil {
			<-semaphore
			pause(ctx, poll)
			continue
		}
		writes.Go(func() {
			defer func() { <-semaphore }()
			limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
			defer cancel()
			key, err := r.patch(limit, call.object.name, call.patch)
			r.finish(call, key, err)
		})
	}
}

// gap returns how long to wait until the next write, so that this replica stays within its share of the budget.
func (r *Recorder) gap() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	between := time.Duration(min(1/r.share(), time.Hour.Seconds()) * float64(time.Second))
	return r.last.Add(between).Sub(r.options.Clock())
}

// share returns how many writes per second this replica may make.
func (r *Recorder) share() float64 { return r.options.Budget / float64(r.peers.count) }

// statusWrite is a write that is under way.
type statusWrite struct {
	object *object
	patch  []byte
	// used and lastUsed are the times that it writes.
	used     map[*slot]int64
	lastUsed int64
}

// begin takes the next object and prepares its patch. It returns nil if there is nothing to write now.
func (r *Recorder) begin() *statusWrite {
	r.collect()
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.options.Clock()
	o := r.pick(now)
	if o == nil {
		return nil
	}
	o.busy = true
	r.last = now
	r.inFlight++
	c := &statusWrite{
		object: o, used: make(map[*slot]int64, len(o.credentials)), lastUsed: bounded(o.lastUsed, now.Unix()),
	}
	usage := make([]keysv1alpha1.CredentialUsage, 0, len(o.credentials))
	for _, cred := range o.credentials {
		if cred.inFuture(now.Unix()) {
			r.slots.reset(cred.slotNumber, min(cred.used.Load(), now.Unix()))
		}
		// The later of the two, so that no write moves a time back.
		at := max(cred.used.Load(), cred.written.Load())
		if at == 0 {
			continue
		}
		c.used[cred.slot], c.lastUsed = at, max(c.lastUsed, at)
		usage = append(usage, keysv1alpha1.CredentialUsage{ID: cred.id, LastUsedTime: metav1.Unix(at, 0)})
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": o.uid, "resourceVersion": o.version},
		"status":   map[string]any{"lastUsedTime": metav1.Unix(c.lastUsed, 0), "usage": usage},
	})
	if err != nil {
		panic(err) // All fields can be marshalled.
	}
	c.patch = patch
	return c
}

// finish updates the recorder with the result of a write.
func (r *Recorder) finish(c *statusWrite, key *keysv1alpha1.ApiKey, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, now := c.object, r.options.Clock()
	o.busy = false
	r.inFlight--
	result := resultOf(err)
	r.metrics.writes.WithLabelValues(result).Inc()
	switch result {
	case resultWritten:
		o.version, o.lastUsed, o.ours, o.attempts = key.ResourceVersion, c.lastUsed, true, 0
		for s, used := range c.used {
			s.observeWritten(used)
		}
		r.recovered()
		r.requeue(o, now, now)
	case resultGone:
		o.gone = true // The feed will report the deletion, too.
	case resultConflict, resultRefused:
		o.attempts++
		r.recovered()
		r.requeue(o, now, now.Add(backoff(o.attempts)))
	default:
		// The key waits as well, so that one that always fails doesn't hold up the others.
		o.attempts++
		r.failures++
		r.pausedUntil = now.Add(backoff(r.failures))
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			r.pausedUntil = later(r.pausedUntil, now.Add(time.Duration(seconds)*time.Second))
		}
		if r.failures == 1 {
			r.options.Log.Error(err, "Can't write when keys were last used: trying again", "key", o.name)
		}
		r.requeue(o, now, now.Add(backoff(o.attempts)))
	}
	if result == resultRefused && o.attempts == 1 {
		r.options.Log.Error(err, "Can't write when a key was last used: trying again", "key", o.name)
	}
	if r.objects[o.name] == o { // It may have been dropped meanwhile.
		r.keep(o)
	}
}

// requeue puts an object back into the queue if it still, or again, has something to write.
func (r *Recorder) requeue(o *object, now, notBefore time.Time) {
	if o.gone || !o.due() {
		return
	}
	since := o.since
	if o.attempts == 0 {
		since = now
	}
	r.queue.add(o, since, notBefore, o.oldest())
}

// recovered ends the pause after a failure of the API server.
func (r *Recorder) recovered() {
	if r.failures > 0 {
		r.options.Log.Info("Writes when keys were last used again")
	}
	r.failures, r.pausedUntil = 0, time.Time{}
}

// backoff returns how long to wait after a number of failures in a row.
func backoff(failures int) time.Duration {
	return min(minBackoff<<min(failures-1, 10), maxBackoff)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Results of a write, as the metric counts them.
const (
	resultWritten  = "written"
	resultConflict = "conflict"
	resultGone     = "gone"
	resultRefused  = "refused"
	resultFailed   = "failed"
)

// resultOf returns the result of a write. It distinguishes faults of one key from those of the API server or the
// verifier's account.
func resultOf(err error) string {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return resultWritten
	case apierrors.IsConflict(err):
		return resultConflict
	case apierrors.IsNotFound(err):
		return resultGone
	case errors.As(err, &status) && (status.Status().Code == http.StatusUnprocessableEntity ||
		status.Status().Code == http.StatusBadRequest):
		return resultRefused
	}
	return resultFailed
}

func pause(ctx context.Context, length time.Duration) {
	if length <= 0 {
		return
	}
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
