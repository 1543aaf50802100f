package token

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"unsafe"
)

const (
	// IDLength is the number of characters of a credential's public id.
	IDLength = 8

	secretLength   = 43
	checksumLength = 6
	bodyLength     = IDLength + secretLength + checksumLength

	maxFormatLength = 32
	minFormatLength = 2
	maxLength       = maxFormatLength + bodyLength
)

// Formats of the tokens of NexusCommerce, by environment.
const (
	FormatLive Format = "nxc_live_"
	FormatTest Format = "nxc_test_"
)

// ErrMalformed reports that a string is not a token: its length, its characters or its checksum is wrong. It never
// contains the string.
var ErrMalformed = errors.New("malformed token")

// Format is the fixed beginning of a token, which names its issuer and its environment: at most 32 letters, digits and
// underscores, ending in an underscore.
type Format string

// Validate returns an error if the format is invalid.
func (f Format) Validate() error {
	if len(f) < minFormatLength || len(f) > maxFormatLength || !validFormat(string(f)) {
		return fmt.Errorf("token format %q: must be %d to %d letters, digits and underscores "+
			"and end in an underscore, such as %s",
			string(f), minFormatLength, maxFormatLength, FormatLive)
	}
	return nil
}

func validFormat(s string) bool {
	for i := range len(s) {
		if !isBase62[s[i]] && s[i] != '_' {
			return false
		}
	}
	return s[len(s)-1] == '_'
}

// Token is a bearer token. It is redacted when it is printed, logged or marshalled by accident. Only Reveal returns its
// value.
type Token struct {
	value string
}

const redacted = "[redacted]"

// Reveal returns the token itself. It may only be put into its Secret, or shown to a user who may read that.
func (t Token) Reveal() string { return t.value }

// String implements fmt.Stringer without the token.
func (Token) String() string { return redacted }

// GoString implements fmt.GoStringer without the token.
func (Token) GoString() string { return redacted }

// MarshalText implements encoding.TextMarshaler without the token.
func (Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Digest returns the token's SHA-256 digest.
func (t Token) Digest() Digest { return DigestOf(t.value) }

// Prefix returns what people recognise the token by: its format and its ID.
func (t Token) Prefix() string { return t.value[:len(t.value)-secretLength-checksumLength] }

// Parse reads a token. It checks the length, the characters and the checksum, in this order and before any hashing, so
// that an invalid token costs next to nothing. The error is ErrMalformed.
func Parse(s string) (Token, error) {
	if !WellFormed(s) {
		return Token{}, ErrMalformed
	}
	return Token{value: s}, nil
}

// WellFormed reports whether Parse would accept s.
func WellFormed(s string) bool {
	if len(s) < minFormatLength+bodyLength || len(s) > maxLength {
		return false
	}
	if split := len(s) - bodyLength; !allBase62(bytesOf(s[split:])) || !validFormat(s[:split]) {
		return false
	}
	split := len(s) - checksumLength
	return decode(s[split:]) == uint64(crc32.ChecksumIEEE(bytesOf(s[:split])))
}

func checksum(out []byte, s string) {
	number := [1]uint32{crc32.ChecksumIEEE(bytesOf(s))}
	encode(out, number[:])
}

// bytesOf returns the bytes of s without copying them. They must not be changed.
func bytesOf(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s)) //nolint:gosec // Read only, and not kept.
}

// Digest is the SHA-256 digest of a token. It is public: it identifies the token and does not reveal it.
type Digest [sha256.Size]byte

// DigestPrefix is what the text of a digest begins with.
const DigestPrefix = "sha256:"

// DigestOf returns the digest of a token's text.
func DigestOf(s string) Digest {
	return sha256.Sum256(bytesOf(s))
}

// String returns the digest as it is written in status: sha256: and 64 hexadecimal digits.
func (d Digest) String() string { return DigestPrefix + d.Hex() }

// Hex returns the digest as it is written in spec.digest.sha256: 64 hexadecimal digits.
func (d Digest) Hex() string { return hex.EncodeToString(d[:]) }

// ParseDigest reads what Digest.String writes.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	digits, ok := strings.CutPrefix(s, DigestPrefix)
	if !ok || len(digits) != hex.EncodedLen(len(d)) {
		return d, fmt.Errorf("digest %q: must be %s and %d hexadecimal digits", s, DigestPrefix, hex.EncodedLen(len(d)))
	}
	if _, err := hex.Decode(d[:], []byte(digits)); err != nil {
		return d, fmt.Errorf("digest %q: %w", s, err)
	}
	return d, nil
}

// ID returns a credential ID for a token that was made elsewhere, of which only the digest is known.
func (d Digest) ID() string {
	var digits [secretLength]byte
	encode(digits[:], words(d))
	return string(digits[secretLength-IDLength:])
}
