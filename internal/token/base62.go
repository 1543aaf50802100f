package token

import (
	"encoding/binary"
	"io"
)

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// isBase62 says for each byte whether it is a digit of base 62.
var isBase62 = func() (table [256]bool) {
	for i := range len(alphabet) {
		table[alphabet[i]] = true
	}
	return table
}()

// encode writes a big-endian number in base 62, most significant digit first, filling out with leading zeros. The caller
// gives it enough room: 43 digits hold 256 bits (62^43 > 2^256), 6 hold 32.
func encode(out []byte, number []uint32) {
	for i := len(out) - 1; i >= 0; i-- {
		var remainder uint64
		for j := range number {
			dividend := remainder<<32 | uint64(number[j])
			number[j] = uint32(dividend / 62) //nolint:gosec // remainder < 62, so the quotient is below 2^32.
			remainder = dividend % 62
		}
		out[i] = alphabet[remainder]
	}
}

func words(sum [32]byte) []uint32 {
	number := make([]uint32, 8)
	for i := range number {
		number[i] = binary.BigEndian.Uint32(sum[4*i:])
	}
	return number
}

// NewID returns a random public id of IDLength base62 characters. The error is the reader's.
func NewID(random io.Reader) (string, error) {
	id := make([]byte, 0, IDLength)
	var buffer [2 * IDLength]byte
	for len(id) < IDLength {
		if _, err := io.ReadFull(random, buffer[:]); err != nil {
			return "", err
		}
		for _, b := range buffer {
			// 248 is the largest multiple of 62 in a byte: above it, some digits would come up more often than others.
			if b < 248 && len(id) < IDLength {
				id = append(id, alphabet[b%62])
			}
		}
	}
	return string(id), nil
}
