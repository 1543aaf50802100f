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
	// fieldManager is that of all verifiers: whose turn it is changes, and a manager for each that ever ran would pile up.
	fieldManager = "apikey-verifier"
	// poll is how often the meters are looked at.
	poll = 200 * time.Millisecond
	// timeout is how long a write may take.
	timeout = 5 * time.Second
	// inFlight is how many writes may be under way at a time.
	inFlight = 4
	// minBackoff and maxBackoff are how long nothing is written after a failure of the API server's, or to one key after
	// a failure of that key's.
	minBackoff, maxBackoff = time.Second, time.Minute
)

// Options configure a Recorder.
type Options struct {
	// Config reaches the API server as the verifier's account.
	Config *rest.Config
	// Canary is the ApiKey on which verifiers say that they are alive.
	Canary types.NamespacedName
	// Name is this verifier's own among all that run.
	Name string
	// Budget is how many writes a second all verifiers together may make; 0 is for none.
	Budget float64
	Log    logr.Logger
	// Clock is time.Now but in tests.
	Clock    func() time.Time
	Registry prometheus.Registerer
}

// patcher sends a merge patch of a status, and returns the object as it is then.
type patcher func(ctx context.Context, name string, patch []byte) (*keysv1alpha1.ApiKey, error)

// New returns a recorder that writes nothing until it is run, and registers its metrics.
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
		atRest:  newArchive(),
		peers:   newPeers(options.Name),
	}
	r.metrics = newMetrics(r, options.Registry)
	return r
}

// patchThrough returns a patcher with connections of its own: writes never hold up the feed.
func patchThrough(config *rest.Config) (patcher, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // The budget is what limits it.
	client, err := restclient.ForGroup(config, keysv1alpha1.GroupVersion, keysv1alpha1.AddToScheme)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, object string, patch []byte) (*keysv1alpha1.ApiKey, error) {
		key := &keysv1alpha1.ApiKey{}
		namespace, name, _ := strings.Cut(object, "/")
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

// Flush writes what is pending, within the budget, until there is no more, the context ends or the API server is not to be
// had. Whose turn it is does not matter then.
func (r *Recorder) Flush(ctx context.Context) {
	r.write(ctx, func() bool {
		r.collect()
		for r.hurry() {
			continue
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.queue.len()+r.underWay == 0 || r.failures > 1
	})
}

// hurry lets some be written that would wait for other replicas, and says whether there are more.
func (r *Recorder) hurry() (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.queue.promote(r.options.Clock().Add(lastGrace), atOnce)
}

// write writes what is due, at the pace of this replica's share of the budget, until it is done or the context ends.
func (r *Recorder) write(ctx context.Context, done func() bool) {
	if r.options.Budget <= 0 {
		return
	}
	var writes sync.WaitGroup
	defer writes.Wait()
	slots := make(chan struct{}, inFlight)
	for ctx.Err() == nil && !done() {
		pause(ctx, r.gap())
		select {
		case <-ctx.Done():
			return
		case slots <- struct{}{}:
		}
		call := r.begin()
		if call == nil {
			<-slots
			pause(ctx, poll)
			continue
		}
		writes.Go(func() {
			defer func() { <-slots }()
			limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
			defer cancel()
			key, err := r.patch(limit, call.object.name, call.patch)
			r.settle(call, key, err)
		})
	}
}

// gap is how long to wait until the next write, so that no second has more of them than this replica's share.
func (r *Recorder) gap() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	between := time.Duration(min(1/r.share(), time.Hour.Seconds()) * float64(time.Second))
	return r.last.Add(between).Sub(r.options.Clock())
}

// share is how many writes a second are this replica's.
func (r *Recorder) share() float64 { return r.options.Budget / float64(r.peers.count) }

// call is a write that is under way: the latest use of each meter, as it is written.
type call struct {
	object *object
	patch  []byte
	used   map[*meter]int64
	last   int64
}

// begin takes the next object and makes its patch; nil if none is to be written now.
func (r *Recorder) begin() *call {
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
	r.underWay++
	c := &call{object: o, used: make(map[*meter]int64, len(o.credentials)), last: bounded(o.lastUsed, now.Unix())}
	usage := make([]keysv1alpha1.CredentialUsage, 0, len(o.credentials))
	for _, credential := range o.credentials {
		if credential.ahead(now.Unix()) {
			r.numbers.reset(credential.number, min(credential.used.Load(), now.Unix()))
		}
		// The later one: no write takes anything back.
		at := max(credential.used.Load(), credential.written.Load())
		if at == 0 {
			continue
		}
		c.used[credential.meter], c.last = at, max(c.last, at)
		usage = append(usage, keysv1alpha1.CredentialUsage{ID: credential.id, LastUsedTime: metav1.Unix(at, 0)})
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": o.uid, "resourceVersion": o.version},
		"status":   map[string]any{"lastUsedTime": metav1.Unix(c.last, 0), "usage": usage},
	})
	if err != nil {
		panic(err) // Every field is one that can be marshalled.
	}
	c.patch = patch
	return c
}

// settle takes in what has become of a write.
func (r *Recorder) settle(c *call, key *keysv1alpha1.ApiKey, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, now := c.object, r.options.Clock()
	o.busy = false
	r.underWay--
	result := resultOf(err)
	r.metrics.writes.WithLabelValues(result).Inc()
	switch result {
	case resultWritten:
		o.version, o.lastUsed, o.ours, o.attempts = key.ResourceVersion, c.last, true, 0
		for m, used := range c.used {
			m.know(used)
		}
		r.recovered()
		r.again(o, now, now)
	case resultGone:
		o.gone = true // The feed will say so too.
	case resultConflict, resultRefused:
		o.attempts++
		r.recovered()
		r.again(o, now, now.Add(backoff(o.attempts)))
	default:
		// The key is kept back too, so that one that always fails doesn't keep the others from their turn.
		o.attempts++
		r.failures++
		r.pausedUntil = now.Add(backoff(r.failures))
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			r.pausedUntil = later(r.pausedUntil, now.Add(time.Duration(seconds)*time.Second))
		}
		if r.failures == 1 {
			r.options.Log.Error(err, "Can't write when keys were last used: trying again", "key", o.name)
		}
		r.again(o, now, now.Add(backoff(o.attempts)))
	}
	if result == resultRefused && o.attempts == 1 {
		r.options.Log.Error(err, "Can't write when a key was last used: trying again", "key", o.name)
	}
	if r.objects[o.name] == o { // It may have been dropped.
		r.keep(o)
	}
}

// again puts an object back into the queue if there is still, or again, something to write.
func (r *Recorder) again(o *object, now, notBefore time.Time) {
	if o.gone || !o.due() {
		return
	}
	since := o.since
	if o.attempts == 0 {
		since = now
	}
	r.queue.add(o, since, notBefore, o.oldest())
}

func (r *Recorder) recovered() {
	if r.failures > 0 {
		r.options.Log.Info("Writes when keys were last used again")
	}
	r.failures, r.pausedUntil = 0, time.Time{}
}

// backoff is how long to wait after a number of failures in a row.
func backoff(failures int) time.Duration {
	return min(minBackoff<<min(failures-1, 10), maxBackoff)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Results of a write, as they are counted.
const (
	resultWritten  = "written"
	resultConflict = "conflict"
	resultGone     = "gone"
	resultRefused  = "refused"
	resultFailed   = "failed"
)

// resultOf tells what is wrong with one key from what is wrong with the API server, or with the verifier's account.
func resultOf(err error) string {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return resultWritten
	case apierrors.IsConflict(err):
		return resultConflict
	case apierrors.IsNotFound(err):
		return resultGone
	case errors.As(err, &status) && (status.Status().Code == http.StatusUnprocessableEntity || status.Status().Code == http.StatusBadRequest):
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
