// Package publication makes a key's Secret hold the right token, and nobody else's Secret anything at all (S5).
//
//	desiredSecret ─ what should be in the Secret: pure
//	Store ───────── what is in it: read past the cache, or recorded when it was last written or read
//	Publish, Keep ─ the steps that write the difference
package publication

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/rootkeys"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/status"
	"github.com/nexuscommerce/apikey-operator/internal/secretdata"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

const (
	// conflictInterval is the time after which a Secret that is in the way, or that could not be written, is tried
	// again: the controller watches nobody else's Secrets, quotas or policies.
	conflictInterval = time.Minute
	// rootInterval is the time after which a root key that is gone, and may be restored, is looked for again.
	rootInterval = time.Minute
	// predecessorInterval is the time after which a Secret that will be garbage-collected is looked at again.
	predecessorInterval = 2 * time.Second
)

// Publish is the step that puts a credential's token into the key's Secret, and records that it is there. The
// credential is the newest, or the one before it while the newest is withheld.
type Publish struct{ publisher }

// NewPublish returns the step.
func NewPublish(secrets *Store, roots *rootkeys.Store) *Publish {
	return &Publish{publisher{secrets: secrets, roots: roots}}
}

// Reconcile implements lifecycle.Step.
func (s *Publish) Reconcile(ctx context.Context, r *lifecycle.Reconciliation) (lifecycle.Result, error) {
	credential := r.Newest()
	if r.Withheld {
		credential = r.Previous()
	}
	return s.publish(ctx, r, credential)
}

// Keep is the step that keeps the Secret of a key which was issued and now asks for something that it may not have: its
// token still works, and is restored if it is lost. Only the condition Published says what cannot be done.
type Keep struct{ publisher }

// NewKeep returns the step.
func NewKeep(secrets *Store, roots *rootkeys.Store) *Keep {
	return &Keep{publisher{secrets: secrets, roots: roots}}
}

// Reconcile implements lifecycle.Step.
func (s *Keep) Reconcile(ctx context.Context, r *lifecycle.Reconciliation) (lifecycle.Result, error) {
	credential := published(r)
	if r.Admission.Tenant == nil || credential == nil || !s.secrets.Serves(r.Key.Namespace) {
		return lifecycle.Result{}, nil
	}
	_, err := s.publish(ctx, r, credential)
	return lifecycle.Result{}, err
}

// published returns the newest credential whose token has been published, or nil.
func published(r *lifecycle.Reconciliation) *keysv1alpha1.Credential {
	if len(r.Key.Status.Credentials) == 0 {
		return nil
	}
	if newest := r.Newest(); newest.PublishedTime != nil {
		return newest
	}
	if previous := r.Previous(); previous != nil && previous.PublishedTime != nil {
		return previous
	}
	return nil
}

// publisher is what Publish and Keep have in common: both write a credential's token.
type publisher struct {
	secrets *Store
	roots   *rootkeys.Store
}

// publish puts a credential's token into the key's Secret, and records that it is there.
func (p *publisher) publish(
	ctx context.Context, r *lifecycle.Reconciliation, credential *keysv1alpha1.Credential,
) (lifecycle.Result, error) {
	if r.Key.Spec.Digest != nil {
		recordTime(r, credential)
		r.Conditions().SetTrue(keysv1alpha1.ConditionPublished, keysv1alpha1.ReasonRegistered,
			"The token was made elsewhere; there is no Secret.")
		return lifecycle.Result{}, nil
	}
	name := SecretName(r.Key)
	tok, current, lost, err := p.token(ctx, r.Key, credential)
	if errors.Is(err, rootkeys.ErrGone) {
		return fail(r, rootLost(credential)), nil
	}
	if err != nil {
		return lifecycle.Result{}, err
	}
	desired, err := desiredSecret(r.Key, r.Admission.Tenant, tok)
	if template := (*secretdata.Error)(nil); errors.As(err, &template) {
		invalid := status.Stalled(keysv1alpha1.ReasonInvalidTemplate, template.Error())
		return fail(r, lifecycle.Result{Outcome: invalid}), nil
	}
	if err != nil {
		return lifecycle.Result{}, err
	}
	if err := p.write(ctx, r, current, desired, credential); err != nil {
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			// The namespace is being deleted, and the key soon is. Nothing is to be said about it.
			return lifecycle.Result{Deferred: true, RequeueAfter: conflictInterval}, nil
		}
		var known interface{ result() lifecycle.Result }
		if !errors.As(err, &known) {
			return lifecycle.Result{}, err
		}
		return fail(r, known.result()), nil
	}
	// The token may be in one Secret only: a former Secret is deleted once the new one is there.
	if former := r.Key.Status.SecretName; former != "" && former != name {
		if err := p.secrets.Remove(ctx, r.Key, former); err != nil {
			return lifecycle.Result{}, err
		}
	}
	record(r, credential, name, lost)
	return lifecycle.Result{}, nil
}

// token returns a credential's token: derived from its root key or, if that is lost, from the Secret. In that case it
// also returns the Secret. The error is rootkeys.ErrGone if neither is there.
func (p *publisher) token(
	ctx context.Context, key *keysv1alpha1.ApiKey, credential *keysv1alpha1.Credential,
) (tok token.Token, current existing, lost bool, err error) {
	tok, err = p.roots.Derive(ctx, key, credential)
	if !errors.Is(err, rootkeys.ErrGone) {
		return tok, existing{}, false, err
	}
	current, err = p.secrets.get(ctx, key.Namespace, SecretName(key))
	if err != nil {
		return token.Token{}, existing{}, true, err
	}
	if held := current.holding(credential.Digest); held != nil {
		return *held, current, true, nil
	}
	return token.Token{}, current, true, rootkeys.ErrGone
}

func rootLost(credential *keysv1alpha1.Credential) lifecycle.Result {
	message := fmt.Sprintf(
		"Root key %d, from which the token was derived, is gone, and no Secret holds the token: "+
			"restore the Secret %s, or ask for another token with the annotation %s.",
		credential.Root, rootkeys.Name(credential.Root), keysv1alpha1.RotateAtAnnotation)
	return lifecycle.Result{
		Outcome:      status.Stalled(keysv1alpha1.ReasonRootKeyLost, message),
		RequeueAfter: rootInterval,
	}
}

// write gives the Secret its desired content. It reads the Secret first, except where that is known to be up to date,
// and where the Secret has never been created: its creation tells just as well that there is none. The error is that of
// Store.apply.
func (p *publisher) write(
	ctx context.Context, r *lifecycle.Reconciliation,
	current existing, desired *corev1.Secret, credential *keysv1alpha1.Credential,
) (err error) {
	recorded := credential.PublishedTime != nil && r.Key.Status.SecretName == desired.Name
	switch {
	case current.Secret != nil: // Read already.
	case recorded && p.secrets.upToDate(ctx, r.Key, desired):
		return nil
	case r.Key.Status.SecretName == "" && r.Conditions().Get(keysv1alpha1.ConditionPublished) == nil:
		if err := p.secrets.apply(ctx, r.Key, existing{}, desired, credential.Digest); !apierrors.IsAlreadyExists(err) {
			return err
		}
		fallthrough
	default:
		if current, err = p.secrets.get(ctx, r.Key.Namespace, desired.Name); err != nil {
			return err
		}
	}
	return p.secrets.apply(ctx, r.Key, current, desired, credential.Digest)
}

// record writes to status that the Secret holds a credential's token.
func record(r *lifecycle.Reconciliation, credential *keysv1alpha1.Credential, name string, lost bool) {
	first := credential.PublishedTime == nil
	recordTime(r, credential)
	r.Key.Status.SecretName = name
	r.Key.Status.Binding = &keysv1alpha1.Binding{Name: name}
	reason := r.Conditions().Reason(keysv1alpha1.ConditionPublished)
	switch {
	case len(r.Key.Status.Credentials) > 1 && credential == r.Newest():
		reason = keysv1alpha1.ReasonRotated
	case first || reason != keysv1alpha1.ReasonRotated:
		reason = keysv1alpha1.ReasonIssued
	}
	message := fmt.Sprintf("Secret %s holds the token.", name)
	if lost {
		message = fmt.Sprintf("Secret %s holds the token, which can't be restored should it be lost: "+
			"root key %d is gone. Rotate the key.", name, credential.Root)
	}
	r.Conditions().SetTrue(keysv1alpha1.ConditionPublished, reason, message)
}

// recordTime records when a credential was first published.
func recordTime(r *lifecycle.Reconciliation, credential *keysv1alpha1.Credential) {
	if credential.PublishedTime == nil {
		credential.PublishedTime = r.Now.DeepCopy()
	}
}

func fail(r *lifecycle.Reconciliation, result lifecycle.Result) lifecycle.Result {
	r.Conditions().SetFalse(keysv1alpha1.ConditionPublished, result.Outcome.Reason, result.Outcome.Message)
	return result
}
