package console

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
)

// minKey is how many bytes the key must have that cookies are sealed with.
const minKey = 32

// sealer encrypts what a browser keeps for us, and vouches for what it is to give back. Keys for either use are derived from
// one (HKDF-SHA256).
type sealer struct {
	aead cipher.AEAD
	mac  []byte
	// peers is for what replicas tell one another: a browser chooses what mac is put to.
	peers []byte
}

// newSealer returns a sealer with a key, or without one with a random key.
func newSealer(key []byte) (*sealer, error) {
	if key == nil {
		key = make([]byte, minKey)
		_, _ = rand.Read(key) // It never fails, see crypto/rand.
	}
	if len(key) < minKey {
		return nil, fmt.Errorf("the key for sessions has %d bytes, and must have at least %d, all random", len(key), minKey)
	}
	sealing, err := hkdf.Key(sha256.New, key, nil, "apikey-console cookie", 32)
	if err != nil {
		return nil, err
	}
	mac, err := hkdf.Key(sha256.New, key, nil, "apikey-console csrf", 32)
	if err != nil {
		return nil, err
	}
	peerKey, err := hkdf.Key(sha256.New, key, nil, "apikey-console peers", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(sealing)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &sealer{aead: aead, mac: mac, peers: peerKey}, err
}

// errBroken says that something was not sealed here, or not for this.
var errBroken = errors.New("not sealed by this console")

// seal encrypts a content for a purpose, as text for a cookie.
func (s *sealer) seal(purpose string, content []byte) string {
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, content, []byte(purpose))) //nolint:gosec // It makes its nonces itself.
}

// open returns what was sealed for a purpose. The error is errBroken.
func (s *sealer) open(purpose, text string) ([]byte, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, errBroken
	}
	content, err := s.aead.Open(nil, nil, sealed, []byte(purpose))
	if err != nil {
		return nil, errBroken
	}
	return content, nil
}

// proof returns what only who may read a page of a visit knows.
func (s *sealer) proof(nonce string) string { return proofBy(s.mac, nonce) }

// peerProof returns what only a replica can say of a text.
func (s *sealer) peerProof(text string) string { return proofBy(s.peers, text) }

func proofBy(key []byte, text string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// sameSecret compares texts without telling by the time it takes how much of them is.
func sameSecret(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
