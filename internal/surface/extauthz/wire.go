package extauthz

import (
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// wire is the unread rest of a message in protobuf's encoding.
//
// It is parsed by hand because that takes a fraction of the time of the generated types, which also decode what is not
// needed. FuzzAgainstProto compares both: the same messages are well-formed, and mean the same.
type wire string

const (
	// maxNesting is how deeply groups and messages may be nested, as in protobuf-go.
	maxNesting = protowire.DefaultRecursionLimit
	// maxVarint is how many bytes a varint may have.
	maxVarint = 10
)

// next reads the next field. It skips the value of a field that is not length-delimited, as none of the parsed fields
// is, and returns the number 0 for it.
func (w *wire) next() (number protowire.Number, value string, ok bool) {
	number, kind, ok := w.tag()
	if !ok || number > protowire.MaxValidNumber {
		return 0, "", false
	}
	if kind != protowire.BytesType {
		return 0, "", w.skip(number, kind, maxNesting)
	}
	value, ok = w.bytes()
	return number, value, ok
}

// tag reads a field's number and wire type.
func (w *wire) tag() (protowire.Number, protowire.Type, bool) {
	tag, ok := w.varint()
	if !ok || tag>>3 > math.MaxInt32 || tag>>3 < uint64(protowire.MinValidNumber) {
		return 0, 0, false
	}
	return protowire.Number(tag >> 3), protowire.Type(tag & 7), true
}

// varint reads a varint: seven bits a byte, the lowest first.
func (w *wire) varint() (value uint64, ok bool) {
	s := *w
	for i := 0; i < len(s) && i < maxVarint; i++ {
		if i == maxVarint-1 && s[i] > 1 {
			return 0, false
		}
		value |= uint64(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			*w = s[i+1:]
			return value, true
		}
	}
	return 0, false
}

// bytes reads a length-delimited value.
func (w *wire) bytes() (string, bool) {
	length, ok := w.varint()
	if !ok {
		return "", false
	}
	return w.take(length)
}

func (w *wire) take(length uint64) (string, bool) {
	if length > uint64(len(*w)) {
		return "", false
	}
	taken := string((*w)[:length])
	*w = (*w)[length:]
	return taken, true
}

// skip skips the value of a field.
func (w *wire) skip(number protowire.Number, kind protowire.Type, nesting int) (ok bool) {
	switch kind {
	case protowire.VarintType:
		_, ok = w.varint()
	case protowire.Fixed32Type:
		_, ok = w.take(4)
	case protowire.Fixed64Type:
		_, ok = w.take(8)
	case protowire.BytesType:
		_, ok = w.bytes()
	case protowire.StartGroupType:
		ok = w.skipGroup(number, nesting-1)
	case protowire.EndGroupType:
	}
	return ok
}

// skipGroup skips to the end of a group.
func (w *wire) skipGroup(group protowire.Number, nesting int) bool {
	for nesting >= 0 {
		number, kind, ok := w.tag()
		switch {
		case !ok:
			return false
		case kind == protowire.EndGroupType:
			return number == group
		case !w.skip(number, kind, nesting):
			return false
		}
	}
	return false
}

// shape is what has to be known of a message to check that it is well-formed without parsing it.
type shape struct {
	// text has a bit for the number of each field that is a string.
	text uint32
	// nested has the shapes of the fields that are messages, by number.
	nested nested
}

type nested [14]*shape

// wellFormed reports whether the rest is a valid message of a shape.
func (w wire) wellFormed(s *shape, nesting int) bool {
	for w != "" {
		number, value, ok := w.next()
		if !ok || !s.fits(number, value, nesting) {
			return false
		}
	}
	return true
}

// fits reports whether a length-delimited field is valid.
func (s *shape) fits(number protowire.Number, value string, nesting int) bool {
	if number < 32 && s.text>>number&1 != 0 {
		return utf8.ValidString(value)
	}
	if int(number) < len(s.nested) && s.nested[number] != nil {
		return nesting > 0 && wire(value).wellFormed(s.nested[number], nesting-1)
	}
	return true
}

func fields(numbers ...protowire.Number) (bits uint32) {
	for _, number := range numbers {
		bits |= 1 << number
	}
	return bits
}
