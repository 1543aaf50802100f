package limit

// fields returns the maximum number of fields in a header block (RFC 7541, section 6). What can't be parsed counts as
// one field a byte.
func fields(block []byte) int {
	n := 0
	for len(block) > 0 {
		var rest []byte
		var ok bool
		switch first := block[0]; {
		case first&0x80 != 0: // indexed
			_, rest, ok = integer(block, 7)
		case first&0x40 != 0: // a literal that is added to the table
			rest, ok = literal(block, 6)
		case first&0x20 != 0: // a change of the table's size, which is not a field
			_, rest, ok = integer(block, 5)
			n--
		default: // a literal that is not added
			rest, ok = literal(block, 4)
		}
		if !ok {
			return n + len(block)
		}
		n++
		block = rest
	}
	return n
}

// literal skips a field with a literal value, and perhaps a literal name. It reports whether all of the field is there.
func literal(b []byte, prefix int) ([]byte, bool) {
	index, b, ok := integer(b, prefix)
	if ok && index == 0 {
		b, ok = skipText(b)
	}
	if ok {
		b, ok = skipText(b)
	}
	return b, ok
}

func skipText(b []byte) ([]byte, bool) {
	length, b, ok := integer(b, 7)
	if !ok || length > len(b) {
		return nil, false
	}
	return b[length:], true
}

// integer reads an integer whose first byte has so many bits for it (RFC 7541, section 5.1).
func integer(b []byte, prefix int) (value int, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	full := 1<<prefix - 1
	value, b = int(b[0])&full, b[1:]
	if value < full {
		return value, b, true
	}
	for shift := 0; shift < 28 && len(b) > 0; shift += 7 {
		more := b[0]
		value, b = value+int(more&0x7f)<<shift, b[1:]
		if more&0x80 == 0 {
			return value, b, true
		}
	}
	return 0, nil, false
}
