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

// minKey is the minimum length in bytes of the key that cookies are sealed with.
const minKey = 32

// sealer encrypts what a browser keeps for us, and authenticates what it sends back. The keys for both are derived from
// one (HKDF-SHA256).
type sealer struct {
	aead cipher.AEAD
	mac  []byte
	// peers authenticates messages between replicas. It differs from mac, because browsers choose what mac is applied to.
	peers []byte
}

// newSealer returns a sealer with the given key, or with a random one if that is nil.
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

// errBroken reports that a text was not sealed with this key, or for another purpose.
var errBroken = errors.New("not sealed by this console")

// seal encrypts a content for a purpose, as text for a cookie.
func (s *sealer) seal(purpose string, content []byte) string {
	sealed := s.aead.Seal(nil, nil, content, []byte(purpose)) //nolint:gosec // It makes its nonces itself.
	return base64.RawURLEncoding.EncodeToString(sealed)
}

// open returns the content of a sealed text. The error is errBroken.
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

// proof returns a value that only pages of the browser with this nonce contain.
func (s *sealer) proof(nonce string) string { return proofBy(s.mac, nonce) }

// peerProof returns a value that only replicas can compute for a text.
func (s *sealer) peerProof(text string) string { return proofBy(s.peers, text) }

func proofBy(key []byte, text string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// sameSecret compares texts in constant time.
func sameSecret(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
