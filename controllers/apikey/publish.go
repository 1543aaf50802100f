package apikey

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/secretdata"
)

const (
	// conflictPatience is how long until a Secret that is in the way, or that could not be written, is tried again: of somebody else's
	// Secrets, quotas and policies the controller watches none.
	conflictPatience = time.Minute
	// rootPatience is the same for a root key that is gone and may be restored.
	rootPatience = time.Minute
	// predecessorPatience is the same for a Secret that the garbage collector is about to take.
	predecessorPatience = 2 * time.Second
)

// publish makes the Secret hold the current credential's token, and records that it does.
type publish struct {
	secrets *secrets
	roots   *roots
}

func (s *publish) run(ctx context.Context, r *round) (*outcome, error) {
	status := &r.key.Status
	credential := r.current()
	if r.key.Spec.Digest != nil {
		s.stamp(r, credential)
		r.set(keysv1alpha1.ConditionPublished, metav1.ConditionTrue, keysv1alpha1.ReasonRegistered, "The token was made elsewhere; there is no Secret.")
		return nil, nil
	}
	name := secretName(r.key)
	tok, err := s.roots.derive(ctx, r.key, credential)
	lost := errors.Is(err, errNoRoot)
	var current existing
	if lost {
		if current, err = s.secrets.get(ctx, r.key.Namespace, name); err != nil {
			return nil, err
		}
		err = errNoRoot
		if held := current.holding(credential.Digest); held != nil {
			tok, err = *held, nil
		}
	}
	if errors.Is(err, errNoRoot) {
		o := refused(keysv1alpha1.ReasonRootKeyLost, fmt.Sprintf(
			"Root key %d, from which the token was derived, is gone, and no Secret holds the token: restore the Secret %s, or ask for another token with the annotation %s.",
			credential.Root, rootName(credential.Root), keysv1alpha1.RotateAtAnnotation))
		o.after = rootPatience
		return s.fail(r, o), nil
	}
	if err != nil {
		return nil, err
	}
	desired, err := desiredSecret(r.key, r.tenant, tok)
	if template := (*secretdata.Error)(nil); errors.As(err, &template) {
		return s.fail(r, refused(keysv1alpha1.ReasonInvalidTemplate, template.Error())), nil
	}
	if err != nil {
		return nil, err
	}
	if inTheWay := s.bring(ctx, r, current, desired, credential); inTheWay != nil {
		var known interface{ outcome() *outcome }
		if !errors.As(inTheWay, &known) {
			return nil, inTheWay
		}
		return s.fail(r, known.outcome()), nil
	}
	// The token may be in one Secret only: a former one goes once the new one is there.
	if former := status.SecretName; former != "" && former != name {
		if err := s.secrets.remove(ctx, r.key, former); err != nil {
			return nil, err
		}
	}
	s.record(r, credential, name, lost)
	return nil, nil
}

// bring makes the Secret what it should be. It is read where it isn't known to be that already, and where it isn't to be made
// for the first time: that it isn't there yet is told by its creation as surely. The error is as that of secrets.apply.
func (s *publish) bring(ctx context.Context, r *round, current existing, desired *corev1.Secret, credential *keysv1alpha1.Credential) (err error) {
	switch {
	case current.Secret != nil: // Read already.
	case credential.PublishedTime != nil && r.key.Status.SecretName == desired.Name && s.secrets.isRight(ctx, r.key, desired):
		return nil
	case r.key.Status.SecretName == "" && reason(r.key.Status.Conditions, keysv1alpha1.ConditionPublished) == "":
		if err := s.secrets.apply(ctx, r.key, existing{}, desired, credential.Digest); !apierrors.IsAlreadyExists(err) {
			return err
		}
		fallthrough
	default:
		if current, err = s.secrets.get(ctx, r.key.Namespace, desired.Name); err != nil {
			return err
		}
	}
	return s.secrets.apply(ctx, r.key, current, desired, credential.Digest)
}

// keep keeps the Secret of a key that was issued, and that now asks for what it may not have: its token works on, and is
// restored where it is lost. What can't be done is said by Published alone.
func (s *publish) keep(ctx context.Context, r *round) error {
	if r.tenant == nil || len(r.key.Status.Credentials) == 0 || !s.secrets.serves(r.key.Namespace) {
		return nil
	}
	r.held = r.newest().PublishedTime == nil
	if r.held && (r.previous() == nil || r.previous().PublishedTime == nil) {
		return nil // Nothing has been published yet.
	}
	_, err := s.run(ctx, r)
	return err
}

// record writes that the Secret holds a credential's token. From here the credential before it has its overlap left.
func (s *publish) record(r *round, credential *keysv1alpha1.Credential, name string, lost bool) {
	first := credential.PublishedTime == nil
	s.stamp(r, credential)
	r.key.Status.SecretName = name
	r.key.Status.Binding = &keysv1alpha1.Binding{Name: name}
	published := reason(r.key.Status.Conditions, keysv1alpha1.ConditionPublished)
	switch {
	case len(r.key.Status.Credentials) > 1 && !r.held:
		supersede(r)
		published = keysv1alpha1.ReasonRotated
	case first || published != keysv1alpha1.ReasonRotated:
		published = keysv1alpha1.ReasonIssued
	}
	message := fmt.Sprintf("Secret %s holds the token.", name)
	if lost {
		message = fmt.Sprintf("Secret %s holds the token, which can't be restored should it be lost: root key %d is gone. Rotate the key.",
			name, credential.Root)
	}
	r.set(keysv1alpha1.ConditionPublished, metav1.ConditionTrue, published, message)
}

// stamp writes when a credential was published, once.
func (s *publish) stamp(r *round, credential *keysv1alpha1.Credential) {
	if credential.PublishedTime == nil {
		credential.PublishedTime = r.now.DeepCopy()
		r.published = true
	}
}

func (s *publish) fail(r *round, o *outcome) *outcome {
	r.set(keysv1alpha1.ConditionPublished, metav1.ConditionFalse, o.reason, o.message)
	return o
}
