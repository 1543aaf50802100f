package apikey

import (
	"context"
	"fmt"
	"io"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// Formats are the beginnings of tokens, by environment.
type Formats map[keysv1alpha1.Environment]token.Format

// announce gives a key its first credential: a random id, and the digest of the token that follows from it. Verifiers
// learn the digest from here, before anybody can read the token. Once it is written the id never changes, so every later
// round, of whichever controller, gives the same token (S4).
type announce struct {
	roots   *roots
	formats Formats
	random  io.Reader
}

func (s *announce) run(ctx context.Context, r *round) (*outcome, error) {
	status := &r.key.Status
	if len(status.Credentials) > 0 {
		return nil, nil
	}
	credential, prefix, err := s.credential(ctx, r)
	if err != nil {
		return nil, err
	}
	status.Credentials = []keysv1alpha1.Credential{credential}
	status.Prefix = prefix
	status.IssuedTime = r.now.DeepCopy()
	// A key that is made with the annotation, as a copy of another is, doesn't ask for a second token.
	status.LastHandledRotateAt = rotateRequest(r.key)
	setExpiry(r)
	foresee(r, nil)
	r.conclude(waiting(keysv1alpha1.ReasonAnnounced, learning, 0))
	return nil, r.save(ctx)
}

// credential returns a new credential, and what a person recognises it by.
func (s *announce) credential(ctx context.Context, r *round) (keysv1alpha1.Credential, string, error) {
	if registered := r.key.Spec.Digest; registered != nil {
		digest, err := token.ParseDigest("sha256:" + registered.SHA256)
		if err != nil {
			return keysv1alpha1.Credential{}, "", err
		}
		return keysv1alpha1.Credential{ID: digest.ID(), Digest: digest.String(), IssuedTime: r.now}, registered.Prefix, nil
	}
	number, root, err := s.roots.newest(ctx)
	if err != nil {
		return keysv1alpha1.Credential{}, "", err
	}
	id, err := token.NewID(s.random)
	if err != nil {
		return keysv1alpha1.Credential{}, "", fmt.Errorf("choosing a credential's id: %w", err)
	}
	minted, err := token.Derive(root, s.formats[r.tenant.Spec.Environment], string(r.key.UID), id)
	if err != nil {
		return keysv1alpha1.Credential{}, "", err
	}
	return keysv1alpha1.Credential{ID: id, Digest: minted.Digest().String(), Root: number, IssuedTime: r.now}, minted.Prefix(), nil
}
