package keystate

import (
	"slices"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// RegisteredDigest returns the digest that a key registers in spec.digest, in the form of status.credentials. It is
// blank if the key registers none.
func RegisteredDigest(key *keysv1alpha1.ApiKey) string {
	if key.Spec.Digest == nil {
		return ""
	}
	return token.DigestPrefix + key.Spec.Digest.SHA256
}

// ClaimedDigests returns the digests that a key has been granted, in the form of status.credentials. A digest that is
// only in spec is not claimed yet.
func ClaimedDigests(key *keysv1alpha1.ApiKey) []string {
	digests := make([]string, len(key.Status.Credentials))
	for i := range key.Status.Credentials {
		digests[i] = key.Status.Credentials[i].Digest
	}
	return digests
}

// MintedCredential reports whether the controller minted the credential's token. A token that was made elsewhere has no
// root key. Spec doesn't matter here, because anyone can register the digest of any token.
func MintedCredential(credential *keysv1alpha1.Credential) bool { return credential.Root > 0 }

// Minted reports whether the controller minted a token of the key.
func Minted(key *keysv1alpha1.ApiKey) bool {
	return slices.ContainsFunc(key.Status.Credentials, func(c keysv1alpha1.Credential) bool {
		return MintedCredential(&c)
	})
}
