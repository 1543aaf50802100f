package apikey

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

const (
	// conflictPatience is how long until a Secret that is in the way is looked for again: of somebody else's Secrets the
	// controller watches none.
	conflictPatience = time.Minute
	// predecessorPatience is the same for a Secret that the garbage collector is about to take.
	predecessorPatience = 2 * time.Second
)

// publish makes the Secret hold the newest credential's token, and records that it does.
type publish struct {
	secrets *secrets
	roots   *roots
}

func (s *publish) run(ctx context.Context, r *round) (*outcome, error) {
	status := &r.key.Status
	newest := &status.Credentials[len(status.Credentials)-1]
	if r.key.Spec.Digest != nil {
		r.set(keysv1alpha1.ConditionPublished, metav1.ConditionTrue, keysv1alpha1.ReasonRegistered, "The token was made elsewhere; there is no Secret.")
		return nil, nil
	}
	name := secretName(r.key)
	current, err := s.secrets.get(ctx, r.key.Namespace, name)
	if err != nil {
		return nil, err
	}
	tok, err := s.token(ctx, r, newest, current.holding(newest.Digest))
	if errors.Is(err, errNoRoot) {
		return s.fail(r, refused(keysv1alpha1.ReasonRootKeyLost, fmt.Sprintf(
			"Root key %d, from which the token was derived, is gone, and no Secret holds the token: restore the Secret %s, or create another ApiKey.",
			newest.Root, rootName(newest.Root)))), nil
	}
	if err != nil {
		return nil, err
	}
	desired, err := desiredSecret(r.key, r.tenant, tok)
	if template := (*templateError)(nil); errors.As(err, &template) {
		return s.fail(r, refused(keysv1alpha1.ReasonInvalidTemplate, template.Error())), nil
	}
	if err != nil {
		return nil, err
	}
	if inTheWay := s.secrets.apply(ctx, r.key, current, desired, newest.Digest); inTheWay != nil {
		var foreign *foreignError
		if !errors.As(inTheWay, &foreign) {
			return nil, inTheWay
		}
		return s.fail(r, foreign.outcome()), nil
	}
	// The token may be in one Secret only: a former one goes once the new one is there.
	if former := status.SecretName; former != "" && former != name {
		if err := s.secrets.remove(ctx, r.key, former); err != nil {
			return nil, err
		}
	}
	s.record(r, newest, name)
	return nil, nil
}

// token returns the credential's token: derived, or as a Secret of ours still holds it where the root key is lost. Either
// way it has the digest that was announced; anything else would be another token under the same id (S4).
func (s *publish) token(ctx context.Context, r *round, credential *keysv1alpha1.Credential, held *token.Token) (token.Token, error) {
	if held != nil {
		return *held, nil
	}
	root, err := s.roots.get(ctx, credential.Root)
	if err != nil {
		return token.Token{}, err
	}
	format := token.Format(r.key.Status.Prefix[:len(r.key.Status.Prefix)-token.IDLength])
	derived, err := token.Derive(root, format, string(r.key.UID), credential.ID)
	if err != nil {
		return token.Token{}, err
	}
	if derived.Digest().String() != credential.Digest {
		return token.Token{}, errNoRoot
	}
	return derived, nil
}

func (s *publish) record(r *round, newest *keysv1alpha1.Credential, name string) {
	if newest.PublishedTime == nil {
		newest.PublishedTime = r.now.DeepCopy()
	}
	r.key.Status.SecretName = name
	r.key.Status.Binding = &keysv1alpha1.Binding{Name: name}
	r.set(keysv1alpha1.ConditionPublished, metav1.ConditionTrue, keysv1alpha1.ReasonPublished, fmt.Sprintf("Secret %s holds the token.", name))
}

func (s *publish) fail(r *round, o *outcome) *outcome {
	r.set(keysv1alpha1.ConditionPublished, metav1.ConditionFalse, o.reason, o.message)
	return o
}
