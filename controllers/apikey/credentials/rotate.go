package credentials

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/rootkeys"
)

const (
	// defaultOverlap is how long a superseded token stays valid if spec does not say. It is at most half of
	// spec.rotation.every.
	defaultOverlap = 24 * time.Hour
	// shortestPeriod is the minimum of spec.rotation.every. A key that is older than that rule may have less.
	shortestPeriod = time.Hour
)

// Rotate is the step that announces another credential, when it is time or somebody asks. The wait for verifiers and
// the Secret follow, as for the first credential; the overlap of the old token begins only when the new one is
// published (Supersede).
type Rotate struct {
	mint      *Mint
	roots     *rootkeys.Store
	limiter   *rotationLimiter
	templates TemplateCheck
}

// TemplateCheck returns what is wrong with the templates of a key's Secret.
type TemplateCheck func(*keysv1alpha1.ApiKey, *keysv1alpha1.Tenant) error

// NewRotate returns the step.
func NewRotate(mint *Mint, clk clock.PassiveClock, templates TemplateCheck) *Rotate {
	return &Rotate{mint: mint, roots: mint.roots, limiter: newRotationLimiter(clk), templates: templates}
}

// Reconcile implements lifecycle.Step.
func (s *Rotate) Reconcile(ctx context.Context, r *lifecycle.Reconciliation) (lifecycle.Result, error) {
	status := &r.Key.Status
	if r.Key.Spec.Digest != nil {
		return lifecycle.Result{}, nil
	}
	retire(r)
	result := lifecycle.Result{RequeueAfter: untilRetired(r)}
	if !rotationDue(r) {
		return result, nil
	}
	if len(status.Credentials) > 1 {
		if stuck, err := s.stuck(ctx, r); err != nil || !stuck {
			return result, err // The last rotation is not over. Its end makes the key be reconciled again.
		}
		status.Credentials = status.Credentials[:len(status.Credentials)-1]
	}
	if s.templates(r.Key, r.Admission.Tenant) != nil {
		// No Secret could take the new token. Publish reports that; the token in the Secret still works.
		return result, nil
	}
	if ok, retryAfter := s.limiter.admit(r.Admission.Tenant.UID, r.Key.UID, rotationRequested(r.Key)); !ok {
		result.RequeueAfter = lifecycle.Soonest(result.RequeueAfter, retryAfter)
		return result, nil
	}
	credential, prefix, err := s.mint.credential(ctx, r)
	if err != nil {
		return lifecycle.Result{}, err
	}
	status.Credentials = append(status.Credentials, credential)
	status.Prefix = prefix
	status.LastHandledRotateAt = rotateRequest(r.Key)
	return result, r.Save(ctx)
}

// stuck reports whether the last rotation cannot end, and somebody asks for another: the root key of its token was lost
// before the token was in the Secret.
func (s *Rotate) stuck(ctx context.Context, r *lifecycle.Reconciliation) (bool, error) {
	if r.Newest().PublishedTime != nil || !rotationRequested(r.Key) {
		return false, nil
	}
	_, err := s.roots.Derive(ctx, r.Key, r.Newest())
	if errors.Is(err, rootkeys.ErrGone) {
		return true, nil
	}
	return false, err
}

// Supersede is the step that begins the overlap of the credential before the newest, once the newest one's token is
// published.
type Supersede struct{}

// Reconcile implements lifecycle.Step.
func (Supersede) Reconcile(_ context.Context, r *lifecycle.Reconciliation) (lifecycle.Result, error) {
	if r.Newest().PublishedTime == nil {
		return lifecycle.Result{}, nil
	}
	var result lifecycle.Result
	credentials := r.Key.Status.Credentials
	for i := range credentials[:len(credentials)-1] {
		if credentials[i].ValidUntil == nil {
			until := metav1.NewTime(r.Now.Add(overlap(r.Key.Spec.Rotation)))
			credentials[i].ValidUntil = &until
			result.RequeueAfter = lifecycle.Soonest(result.RequeueAfter, r.Until(until.Time))
		}
	}
	return result, nil
}

// retire removes the credentials whose overlap is over.
func retire(r *lifecycle.Reconciliation) {
	r.Key.Status.Credentials = slices.DeleteFunc(r.Key.Status.Credentials, func(c keysv1alpha1.Credential) bool {
		return c.ValidUntil != nil && !r.Now.Before(c.ValidUntil)
	})
}

// untilRetired returns the RequeueAfter for the end of the next overlap.
func untilRetired(r *lifecycle.Reconciliation) (after time.Duration) {
	for i := range r.Key.Status.Credentials {
		if until := r.Key.Status.Credentials[i].ValidUntil; until != nil {
			after = lifecycle.Soonest(after, r.Until(until.Time))
		}
	}
	return after
}

// rotationDue reports whether the token must be replaced: because somebody asks, or because it is time.
func rotationDue(r *lifecycle.Reconciliation) bool {
	every, ok := rotationPeriod(r.Key.Spec.Rotation)
	return rotationRequested(r.Key) || (ok && !r.Now.Time.Before(r.Newest().IssuedTime.Add(every)))
}

// rotationRequested reports whether somebody asks for a rotation that has not been announced.
func rotationRequested(key *keysv1alpha1.ApiKey) bool {
	request := rotateRequest(key)
	return request != "" && request != key.Status.LastHandledRotateAt
}

// rotateRequest returns what identifies the rotation that somebody asks for.
func rotateRequest(key *keysv1alpha1.ApiKey) string {
	return RotateRequest(key.Annotations[keysv1alpha1.RotateAtAnnotation])
}

// RotateRequest returns the value of an annotation that asks for a rotation, or its digest if the value is too long to
// be kept. A value that it has returned is returned unchanged.
func RotateRequest(value string) string {
	const longest = 253
	if len(value) <= longest {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	return fmt.Sprintf("sha256:%s", hex.EncodeToString(sum[:]))
}

// rotationPeriod returns the time between two scheduled rotations, and reports whether there are any.
func rotationPeriod(rotation *keysv1alpha1.Rotation) (time.Duration, bool) {
	if rotation == nil {
		return 0, false
	}
	every, ok := rotation.Every.Duration()
	return max(every, shortestPeriod), ok
}

// overlap returns how long a superseded token stays valid.
func overlap(rotation *keysv1alpha1.Rotation) time.Duration {
	if rotation != nil {
		if asked, ok := rotation.Overlap.Duration(); ok {
			return asked
		}
	}
	if every, ok := rotationPeriod(rotation); ok {
		return min(defaultOverlap, every/2)
	}
	return defaultOverlap
}
