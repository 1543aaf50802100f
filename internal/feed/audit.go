package feed

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// auditPage is how many keys are compared with the index at a time, so that an audit needs little memory.
const auditPage = 500

// audit compares the index with a full list, again and again until the context ends. Nothing else reveals that a watch
// has lost an event without breaking. An audit should never find anything.
func (f *Feed) audit(ctx context.Context) {
	for took := time.Duration(0); ; {
		jitter := time.Duration(90 + rand.IntN(20)) //nolint:gosec // Nothing secret.
		pause(ctx, f.intervals.audit(f.options.AuditEvery, took)*jitter/100)
		if ctx.Err() != nil {
			return
		}
		lost, listing, err := f.auditOnce(ctx)
		took = listing
		switch {
		case err != nil && ctx.Err() == nil:
			f.metrics.audits.WithLabelValues("incomplete").Inc()
			f.options.Log.V(1).Info("The index could not be compared with a full list", "error", err.Error())
		case err == nil:
			f.metrics.audits.WithLabelValues("complete").Inc()
		}
		if len(lost) > 0 {
			// The connection may have lost more than that.
			f.reconnect(true)
		}
	}
}

// auditOnce compares the index with one full list and repairs differences. It returns the names of the keys that
// differed, and how long the list took.
//
// The list shows all keys at one resourceVersion, which the index may not have reached yet, or may have passed. So keys
// that differ are compared again once the index has passed that version. A key that was not touched since before the
// list began then has, in the index and in the list, its state at that version, and the two must be equal.
func (f *Feed) auditOnce(ctx context.Context) (lost []string, took time.Duration, err error) {
	f.keys.track()
	defer f.keys.untrack()
	suspects := map[string]*keysv1alpha1.ApiKey{} // nil for a key that is not in the list
	seed := maphash.MakeSeed()
	listed := map[uint64]struct{}{}
	began := f.options.Clock()
	version, err := f.eachKey(ctx, func(key *keysv1alpha1.ApiKey) {
		listed[maphash.String(seed, objectName(key))] = struct{}{}
		if !f.keys.matches(key) {
			suspects[objectName(key)] = key
		}
	})
	took = f.options.Clock().Sub(began)
	if err != nil {
		return nil, took, err
	}
	for _, name := range f.keys.names() {
		if _, ok := listed[maphash.String(seed, name)]; !ok {
			suspects[name] = nil
		}
	}
	if len(suspects) == 0 {
		return nil, took, nil
	}
	if err := f.waitFor(ctx, version); err != nil {
		return nil, took, err
	}
	for name, key := range suspects {
		if f.keys.repair(name, key) {
			lost = append(lost, name)
			f.metrics.divergence.Inc()
			f.options.Log.Error(errors.New("a change did not come on the watch"),
				"The index differed from the API server, and was repaired", "apiKey", name)
		}
	}
	return lost, took, nil
}

// eachKey calls each with all keys as they were at one resourceVersion, and returns that version.
func (f *Feed) eachKey(ctx context.Context, each func(*keysv1alpha1.ApiKey)) (string, error) {
	options := metav1.ListOptions{Limit: auditPage}
	for version := ""; ; {
		page, err := f.eachOnPage(ctx, options, each)
		if err != nil {
			return "", fmt.Errorf("listing apikeys: %w", err)
		}
		if version == "" {
			version = page.ResourceVersion
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return version, nil
		}
	}
}

// eachOnPage calls each with every key on a page of a list, and returns the list's metadata.
func (f *Feed) eachOnPage(
	ctx context.Context, options metav1.ListOptions, each func(*keysv1alpha1.ApiKey),
) (metav1.ListMeta, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	body, err := f.bulk.Get().Resource(allKeys.resource).VersionedParams(&options, metav1.ParameterCodec).Stream(ctx)
	if err != nil {
		return metav1.ListMeta{}, err
	}
	defer func() { _ = body.Close() }()
	return readList(body, func(item []byte) error {
		key := &keysv1alpha1.ApiKey{}
		if err := readKeyInto(item, key); err != nil {
			return err
		}
		each(key)
		return nil
	})
}

// waitFor waits until the index has applied everything up to a resourceVersion.
func (f *Feed) waitFor(ctx context.Context, version string) error {
	limit, cancel := context.WithTimeout(ctx, 2*f.intervals.timeout())
	defer cancel()
	f.requestAcknowledgement() // The nonce that this writes has a later version.
	for newer(version, f.keys.applied()) {
		pause(limit, 20*time.Millisecond)
		if limit.Err() != nil {
			return fmt.Errorf("the watch has not reached resourceVersion %s", version)
		}
	}
	return nil
}
