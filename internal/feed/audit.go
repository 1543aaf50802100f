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

// auditPage is how many keys are held against the index at a time, so that an audit needs little memory.
const auditPage = 500

// audit holds the index against a full list, again and again until the context ends. A watch that loses an event without
// breaking leaves no other trace. It must never find anything.
func (f *Feed) audit(ctx context.Context) {
	for took := time.Duration(0); ; {
		pause(ctx, f.intervals.audit(f.options.AuditEvery, took)*time.Duration(90+rand.IntN(20))/100) //nolint:gosec // Nothing secret.
		if ctx.Err() != nil {
			return
		}
		lost, listing, err := f.auditOnce(ctx)
		took = listing
		switch {
		case err != nil && ctx.Err() == nil:
			f.metrics.audits.WithLabelValues("incomplete").Inc()
			f.options.Log.V(1).Info("The index could not be held against a full list", "error", err.Error())
		case err == nil:
			f.metrics.audits.WithLabelValues("complete").Inc()
		}
		if len(lost) > 0 {
			// What else the connection keeps back, nobody knows.
			f.reconnect(true)
		}
	}
}

// auditOnce holds the index against one full list, mends what differs, and returns the names of the keys that did, and how
// long the list took.
//
// The list shows all keys as they were at one resourceVersion, which the index has not reached yet, or has passed. So what
// differs is looked at again once the index is past it: what it has not touched since before the list was asked for is as
// it was at that version, in the index and in the list, and must be equal.
func (f *Feed) auditOnce(ctx context.Context) (lost []string, took time.Duration, err error) {
	f.keys.track()
	defer f.keys.untrack()
	suspects := map[string]*keysv1alpha1.ApiKey{} // nil for one that the list lacks
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
			f.options.Log.Error(errors.New("a change did not come on the watch"), "The index differed from the API server, and was mended", "apiKey", name)
		}
	}
	return lost, took, nil
}

// eachKey calls a function with all keys as they were at one resourceVersion, which it returns.
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

// eachOnPage calls a function with the keys of a part of a list, as each is read, and returns the list's metadata.
func (f *Feed) eachOnPage(ctx context.Context, options metav1.ListOptions, each func(*keysv1alpha1.ApiKey)) (metav1.ListMeta, error) {
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
	patience, cancel := context.WithTimeout(ctx, 2*f.intervals.timeout())
	defer cancel()
	f.requestAcknowledgement() // The nonce that this writes comes after it.
	for newer(version, f.keys.applied()) {
		pause(patience, 20*time.Millisecond)
		if patience.Err() != nil {
			return fmt.Errorf("the watch has not come to resourceVersion %s", version)
		}
	}
	return nil
}
