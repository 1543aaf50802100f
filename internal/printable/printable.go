// Package printable finds and escapes characters that do more than show themselves: they end a line, move a terminal's
// cursor, or change the direction of the text that follows. It is pure.
//
// API rules refuse such characters in names and descriptions. Objects that are older than those rules may contain them,
// and so may what a proxy or another program sends. So everything that writes a user's text escapes them.
package printable

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Rune reports whether a character is printable.
//
// The joiners U+200C and U+200D are, and so are variation selectors: Persian, Indic scripts, emoji and Japanese names
// need them.
func Rune(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r <= 0x9f: // C0, delete, C1.
		return false
	case r == 0x061c, r == 0x200b, r == 0x200e, r == 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f:
		// Marks, embeddings, overrides and isolates of direction; line and paragraph separators; characters without width.
		return false
	case r == 0xfeff, r >= 0xfff9 && r <= 0xfffb, r >= 0xe0000 && r <= 0xe007f: // Byte order mark, annotations, tags.
		return false
	case r == 0xad, r == 0x115f, r == 0x1160, r == 0x180e, r == 0x3164, r == 0xffa0, r >= 0x1d173 && r <= 0x1d17a:
		// The soft hyphen, fillers and a separator that are invisible, marks of musical notation.
		return false
	}
	return true
}

// Is reports whether a text is valid UTF-8 and all of its characters are printable.
func Is(text string) bool {
	for i, r := range text {
		if !Rune(r) || r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd") {
			return false
		}
	}
	return true
}

// Text returns a text with every character that is not printable written as an escape, such as \n or \u202e. It returns
// a printable text unchanged.
func Text(text string) string {
	if Is(text) {
		return text
	}
	var escaped strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd"):
			fmt.Fprintf(&escaped, `\x%02x`, text[i])
		case Rune(r):
			escaped.WriteRune(r)
		case r == '\n':
			escaped.WriteString(`\n`)
		case r == '\r':
			escaped.WriteString(`\r`)
		case r == '\t':
			escaped.WriteString(`\t`)
		case r > 0xffff:
			fmt.Fprintf(&escaped, `\U%08x`, r)
		default:
			fmt.Fprintf(&escaped, `\u%04x`, r)
		}
	}
	return escaped.String()
}

// Excerpt returns at most so many characters of a text, escaped as by Text. The time it takes is bounded by the
// excerpt's length.
func Excerpt(text string, most int) string {
	count := 0
	for i := range text {
		if count == most {
			return Text(text[:i]) + "…"
		}
		count++
	}
	return Text(text)
}

// Note shortens a message to the 1024 bytes that an event can hold. The API server rejects events with longer ones.
func Note(message string) string {
	const most, more = 1024, "…"
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most-len(more)], "") + more
}
