package apikey

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

const (
	// defaultOverlap is how long a superseded token stays valid where spec doesn't say. Half of spec.rotation.every is the
	// most.
	defaultOverlap = 24 * time.Hour
	// shortestPeriod is the least of spec.rotation.every. A key that is older than the rule for it may have less.
	shortestPeriod = time.Hour
)

// rotate announces another credential, when it is time or somebody asks. The wait for verifiers and the Secret come after,
// as for the first; only once the new token is published does the old one's overlap begin.
type rotate struct {
	announce *announce
	turns    *turns
}

func (s *rotate) run(ctx context.Context, r *round) (*outcome, error) {
	status := &r.key.Status
	if len(status.Credentials) == 0 || r.key.Spec.Digest != nil {
		return nil, nil
	}
	retire(r)
	if !rotationDue(r) {
		return nil, nil
	}
	if len(status.Credentials) > 1 {
		if unfinishable, err := s.unfinishable(ctx, r); err != nil || !unfinishable {
			return nil, err // The last rotation is not over. Its end brings the key back here.
		}
		status.Credentials = status.Credentials[:len(status.Credentials)-1]
	}
	if templatesOf(r.key, r.tenant) != nil {
		return nil, nil // No Secret could take the new token. Publish says so; the one there is works on.
	}
	if ok, again := s.turns.take(r.tenant.UID, r.key.UID, rotationRequested(r.key)); !ok {
		r.wakeAfter(again)
		return nil, nil
	}
	credential, prefix, err := s.announce.credential(ctx, r)
	if err != nil {
		return nil, err
	}
	status.Credentials = append(status.Credentials, credential)
	status.Prefix = prefix
	status.LastHandledRotateAt = rotateRequest(r.key)
	return nil, r.save(ctx)
}

// unfinishable says that the last rotation can't come to its end, and that somebody asks for another: the root key of its
// token was lost before the token was in the Secret.
func (s *rotate) unfinishable(ctx context.Context, r *round) (bool, error) {
	if r.newest().PublishedTime != nil || !rotationRequested(r.key) {
		return false, nil
	}
	_, err := s.announce.roots.derive(ctx, r.key, r.newest())
	if errors.Is(err, errNoRoot) {
		return true, nil
	}
	return false, err
}

// retire takes away credentials whose overlap is over, and sees to it that the key is looked at when the next one's is.
func retire(r *round) {
	status := &r.key.Status
	status.Credentials = slices.DeleteFunc(status.Credentials, func(c keysv1alpha1.Credential) bool {
		return c.ValidUntil != nil && !r.now.Before(c.ValidUntil)
	})
	for i := range status.Credentials {
		if until := status.Credentials[i].ValidUntil; until != nil {
			r.wakeAt(until.Time)
		}
	}
}

// supersede begins the overlap of the credential before the newest, once the newest one's token is published.
func supersede(r *round) {
	credentials := r.key.Status.Credentials
	for i := range credentials[:len(credentials)-1] {
		if credentials[i].ValidUntil == nil {
			until := metav1.NewTime(r.now.Add(overlap(r.key.Spec.Rotation)))
			credentials[i].ValidUntil = &until
			r.wakeAt(until.Time)
		}
	}
}

// schedule writes when the token is replaced next, and sees to it that the key is looked at then.
func schedule(r *round) {
	status := &r.key.Status
	status.NextRotationTime = nil
	every, ok := rotationPeriod(r.key.Spec.Rotation)
	if !ok || len(status.Credentials) == 0 {
		return
	}
	next := metav1.NewTime(r.newest().IssuedTime.Add(every))
	status.NextRotationTime = &next
	r.wakeAt(next.Time)
}

// rotationDue says whether the token is to be replaced: because somebody asks, or because it is time.
func rotationDue(r *round) bool {
	every, ok := rotationPeriod(r.key.Spec.Rotation)
	return rotationRequested(r.key) || (ok && !r.now.Time.Before(r.newest().IssuedTime.Add(every)))
}

// rotationRequested says whether somebody asks for a rotation that has not been announced.
func rotationRequested(key *keysv1alpha1.ApiKey) bool {
	request := rotateRequest(key)
	return request != "" && request != key.Status.LastHandledRotateAt
}

// rotateRequest returns what stands for the rotation that somebody asks for.
func rotateRequest(key *keysv1alpha1.ApiKey) string {
	return RotateRequest(key.Annotations[keysv1alpha1.RotateAtAnnotation])
}

// RotateRequest returns the value of an annotation that asks for a rotation, or its digest where it is too long to be kept. That stands for
// itself.
func RotateRequest(value string) string {
	const longest = 253
	if len(value) <= longest {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	return fmt.Sprintf("sha256:%s", hex.EncodeToString(sum[:]))
}

func rotationPeriod(rotation *keysv1alpha1.Rotation) (time.Duration, bool) {
	if rotation == nil {
		return 0, false
	}
	every, ok := rotation.Every.Duration()
	return max(every, shortestPeriod), ok
}

func overlap(rotation *keysv1alpha1.Rotation) time.Duration {
	if rotation != nil {
		if overlap, ok := rotation.Overlap.Duration(); ok {
			return overlap
		}
	}
	if every, ok := rotationPeriod(rotation); ok {
		return min(defaultOverlap, every/2)
	}
	return defaultOverlap
}
