package token

import (
	"encoding/binary"
	"io"
)

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// isBase62 reports for each byte whether it is a base-62 digit.
var isBase62 = func() (table [256]bool) {
	for i := range len(alphabet) {
		table[alphabet[i]] = true
	}
	return table
}()

// valueOf maps each base-62 digit to its value.
var valueOf = func() (table [256]uint64) {
	for i := range len(alphabet) {
		table[alphabet[i]] = uint64(i)
	}
	return table
}()

// allBase62 reports whether all bytes, of which there are at least 8, are base-62 digits. It checks 8 at a time, which
// takes a sixth of the time of the checksum.
func allBase62(b []byte) bool {
	ok := base62Word(binary.LittleEndian.Uint64(b[len(b)-8:]))
	for ; len(b) >= 8; b = b[8:] {
		ok &= base62Word(binary.LittleEndian.Uint64(b))
	}
	return ok == everyHigh
}

const everyByte, everyHigh = 0x0101010101010101, 0x8080808080808080

// base62Word returns the high bit of every byte that is a base-62 digit, and no other bit. Adding 128-n to a byte below
// 128 carries into its high bit, and no further, if the byte is at least n.
func base62Word(word uint64) uint64 {
	low, folded := word&^everyHigh, word&^everyHigh|everyByte*0x20
	digit := (low + everyByte*(0x80-'0')) &^ (low + everyByte*(0x80-'9'-1))
	letter := (folded + everyByte*(0x80-'a')) &^ (folded + everyByte*(0x80-'z'-1))
	return (digit | letter) &^ word & everyHigh
}

// decode reads a base-62 number, most significant digit first. All bytes must be digits, at most 10.
func decode(digits string) (number uint64) {
	for i := range len(digits) {
		number = number*62 + valueOf[digits[i]]
	}
	return number
}

// encode writes a big-endian number in base 62, most significant digit first, with leading zeros. The caller provides
// enough space: 43 digits hold 256 bits (62^43 > 2^256), and 6 hold 32.
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

// NewID returns a random public ID of IDLength base-62 characters. The error is the reader's.
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
