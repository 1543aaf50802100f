package feed

import (
	"bytes"
	"encoding/json"
	"errors"
)

// readString reads a JSON string.
func readString(value []byte, into *string) error {
	if len(value) >= 2 && value[0] == '"' && bytes.IndexByte(value, '\\') < 0 {
		*into = string(value[1 : len(value)-1])
		return nil
	}
	return json.Unmarshal(value, into)
}

var errJSON = errors.New("not JSON as the API server writes it")

// eachField calls each with the name and the value of every field of an object, which may be null. Values are not
// parsed.
func eachField(b []byte, each func(name string, value []byte) error) error {
	b = skipBlanks(b)
	if string(bytes.TrimRight(b, " \t\r\n")) == "null" {
		return nil
	}
	return eachMember(b, '{', '}', func(b []byte) (rest []byte, err error) {
		name, rest, err := nextValue(b)
		if err != nil || len(name) < 2 || name[0] != '"' {
			return nil, errJSON
		}
		if rest = skipBlanks(rest); len(rest) == 0 || rest[0] != ':' {
			return nil, errJSON
		}
		value, rest, err := nextValue(skipBlanks(rest[1:]))
		if err != nil {
			return nil, err
		}
		return rest, each(string(name[1:len(name)-1]), value)
	})
}

// eachElement calls each with every element of an array, which may be null.
func eachElement(b []byte, each func(element []byte) error) error {
	b = skipBlanks(b)
	if string(bytes.TrimRight(b, " \t\r\n")) == "null" {
		return nil
	}
	return eachMember(b, '[', ']', func(b []byte) (rest []byte, err error) {
		element, rest, err := nextValue(b)
		if err != nil {
			return nil, err
		}
		return rest, each(element)
	})
}

// eachMember calls member at each member of an object or array, which opens and closes with the given characters.
func eachMember(b []byte, opens, closes byte, member func(b []byte) (rest []byte, err error)) error {
	if len(b) == 0 || b[0] != opens {
		return errJSON
	}
	b = skipBlanks(b[1:])
	if len(b) > 0 && b[0] == closes {
		return nil
	}
	for {
		var err error
		if b, err = member(b); err != nil {
			return err
		}
		b = skipBlanks(b)
		switch {
		case len(b) == 0:
			return errJSON
		case b[0] == closes:
			return nil
		case b[0] != ',':
			return errJSON
		}
		b = skipBlanks(b[1:])
	}
}

// nextValue returns the value that b begins with, and the rest of b.
func nextValue(b []byte) (value, rest []byte, err error) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			end := stringEnd(b, i)
			if end < 0 {
				return nil, nil, errJSON
			}
			if i = end; depth == 0 {
				return b[:i+1], b[i+1:], nil
			}
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			switch {
			case depth == 0:
				return b[:i+1], b[i+1:], nil
			case depth < 0:
				return scalar(b, i)
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return scalar(b, i)
			}
		}
	}
	return nil, nil, errJSON
}

// scalar returns the number, true, false or null that ends before end, and the rest of b.
func scalar(b []byte, end int) (value, rest []byte, err error) {
	if end == 0 {
		return nil, nil, errJSON
	}
	return b[:end], b[end:], nil
}

// stringEnd returns the index of the closing quote of the string that begins at i, or -1.
func stringEnd(b []byte, i int) int {
	for i++; ; i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
	}
}

// skipBlanks returns b without leading white space.
func skipBlanks(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}
