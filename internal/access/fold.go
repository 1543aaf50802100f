package access

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxFold is how much folding can shorten a string: the Kelvin sign, which has three bytes, folds to k.
const maxFold = 3

// foldedAlready reports whether appendFolded would change nothing, which is true of nearly every path segment.
func foldedAlready(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= utf8.RuneSelf || ('A' <= c && c <= 'Z') {
			return false
		}
	}
	return true
}

// appendFolded appends s with its case folded. Two strings have the same folded form if and only if strings.EqualFold
// holds for them. The folded form is never longer than s.
func appendFolded(buf []byte, s string) []byte {
	for _, r := range s {
		buf = utf8.AppendRune(buf, foldRune(r))
	}
	return buf
}

// foldRune returns one representative of all runes that differ from r only by case: the lower-case letter in ASCII, and
// the smallest otherwise.
func foldRune(r rune) rune {
	if r >= utf8.RuneSelf {
		for {
			next := unicode.SimpleFold(r)
			if next <= r { // The orbit has come round, to its smallest member.
				r = next
				break
			}
			r = next
		}
	}
	if 'A' <= r && r <= 'Z' {
		r += 'a' - 'A'
	}
	return r
}

// stem returns a segment without its suffix: products for products.json; but .well-known stays as it is. It also
// removes white space before the suffix, because that is then at the end of a segment, where some servers trim it:
// "admin .json".
func stem(segment string) string {
	if i := strings.IndexByte(segment, '.'); i > 0 {
		return strings.TrimRightFunc(segment[:i], unicode.IsSpace)
	}
	return segment
}
