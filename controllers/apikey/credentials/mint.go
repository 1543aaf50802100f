// Package credentials holds the steps of a key's credentials: Announce gives it the first, Rotate replaces it,
// Supersede begins the overlap of the two, Expire and Schedule end them all in time.
package credentials

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/rootkeys"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// Formats are the beginnings of tokens, by environment.
type Formats map[keysv1alpha1.Environment]token.Format

// Mint makes credentials: a random id, and the digest of the token that follows from it.
type Mint struct {
	roots   *rootkeys.Store
	formats Formats
	random  io.Reader
}

// NewMint returns a mint that uses the newest root key.
func NewMint(roots *rootkeys.Store, formats Formats) *Mint {
	return &Mint{roots: roots, formats: formats, random: rand.Reader}
}

// credential returns a new credential, and the prefix by which people recognise it.
func (m *Mint) credential(ctx context.Context, r *lifecycle.Reconciliation) (keysv1alpha1.Credential, string, error) {
	if registered := r.Key.Spec.Digest; registered != nil {
		digest, err := token.ParseDigest(keystate.RegisteredDigest(r.Key))
		if err != nil {
			return keysv1alpha1.Credential{}, "", err
		}
		credential := keysv1alpha1.Credential{ID: digest.ID(), Digest: digest.String(), IssuedTime: r.Now}
		return credential, registered.Prefix, nil
	}
	number, root, err := m.roots.Newest(ctx)
	if err != nil {
		return keysv1alpha1.Credential{}, "", err
	}
	id, err := token.NewID(m.random)
	if err != nil {
		return keysv1alpha1.Credential{}, "", fmt.Errorf("choosing a credential's id: %w", err)
	}
	minted, err := token.Derive(root, m.formats[r.Admission.Tenant.Spec.Environment], string(r.Key.UID), id)
	if err != nil {
		return keysv1alpha1.Credential{}, "", err
	}
	credential := keysv1alpha1.Credential{ID: id, Digest: minted.Digest().String(), Root: number, IssuedTime: r.Now}
	return credential, minted.Prefix(), nil
}
