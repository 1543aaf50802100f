package access

// byteSet is a set of bytes, which tests what characters a string has.
type byteSet [256]bool

func newByteSet(members string) *byteSet {
	var set byteSet
	for i := range len(members) {
		set[members[i]] = true
	}
	return &set
}

func (s *byteSet) contains(b byte) bool { return s[b] }

func (s *byteSet) containsAll(text string) bool {
	for i := range len(text) {
		if !s[text[i]] {
			return false
		}
	}
	return true
}

// unhex returns the value of a hexadecimal digit, or 0xff for any other character.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	default:
		return 0xff
	}
}
