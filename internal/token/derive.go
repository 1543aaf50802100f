package token

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// RootLength is the number of bytes of a root key.
const RootLength = 32

// domain separates these secrets from anything else that may ever be derived from the same root key. The rest of HKDF's
// info can be split in only one way, because the ID has a fixed length.
const domain = "keys.nexuscommerce.io/token/v1/"

// Root is a root key, from which tokens are derived. It prints as redacted.
type Root struct {
	key [RootLength]byte
}

// NewRoot reads a root key from a cryptographically secure source.
func NewRoot(random io.Reader) (Root, error) {
	var r Root
	if _, err := io.ReadFull(random, r.key[:]); err != nil {
		return Root{}, fmt.Errorf("reading %d random bytes for a root key: %w", RootLength, err)
	}
	return r, nil
}

// RootFrom returns a root key from its stored bytes.
func RootFrom(key []byte) (Root, error) {
	var r Root
	if len(key) != RootLength {
		return Root{}, fmt.Errorf("a root key has %d bytes, not %d", RootLength, len(key))
	}
	copy(r.key[:], key)
	if r == (Root{}) {
		return Root{}, errors.New("a root key can't be all zeros")
	}
	return r, nil
}

// Bytes returns the root key itself. It may only be put into the Secret of the root key.
func (r Root) Bytes() []byte { return append([]byte(nil), r.key[:]...) }

// String implements fmt.Stringer without the key.
func (Root) String() string { return redacted }

// GoString implements fmt.GoStringer without the key.
func (Root) GoString() string { return redacted }

// Derive returns the token that belongs to a root key, an ApiKey's UID and a credential's ID: HKDF-SHA256 (RFC 5869) of
// the three, in the given format. The same arguments always give the same token.
func Derive(root Root, format Format, uid, id string) (Token, error) {
	if err := format.Validate(); err != nil {
		return Token{}, err
	}
	if uid == "" {
		return Token{}, errors.New("a token needs the UID of its ApiKey")
	}
	if len(id) != IDLength {
		return Token{}, fmt.Errorf("credential id %q: must have %d characters", id, IDLength)
	}
	for i := range len(id) {
		if !isBase62[id[i]] {
			return Token{}, fmt.Errorf("credential id %q: must be letters and digits", id)
		}
	}
	key, err := hkdf.Key(sha256.New, root.key[:], nil, domain+uid+id, RootLength)
	if err != nil {
		return Token{}, fmt.Errorf("deriving a token: %w", err)
	}
	text := make([]byte, len(format)+bodyLength)
	n := copy(text, format)
	n += copy(text[n:], id)
	encode(text[n:n+secretLength], words([32]byte(key)))
	n += secretLength
	checksum(text[n:], string(text[:n]))
	return Token{value: string(text)}, nil
}

// elsewhere replaces the ApiKey's UID in a token that New makes. No object has such a UID.
const elsewhere = "made elsewhere"

// New returns a token that can't be derived from any root key, for a key that brings its own token: only its digest is
// registered. The randomness comes from a cryptographically secure source, whose error New may return.
func New(random io.Reader, format Format) (Token, error) {
	root, err := NewRoot(random)
	if err != nil {
		return Token{}, err
	}
	id, err := NewID(random)
	if err != nil {
		return Token{}, fmt.Errorf("choosing a token's id: %w", err)
	}
	return Derive(root, format, elsewhere, id)
}
