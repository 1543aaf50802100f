// Package printable tells text that shows itself from text that does something to whatever shows it: ends a line, moves a terminal's
// cursor, or has what follows read from right to left. It is pure.
//
// API rules refuse such characters in names and descriptions. Objects that are older than those rules may hold them, and so may what
// a proxy or another program sends, so everything that writes a user's text escapes them.
package printable

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Rune reports whether a character only shows itself.
//
// The joiners U+200C and U+200D do, and so do variation selectors: Persian, Indic scripts, emoji and Japanese names need them.
func Rune(r rune) bool {
	switch {
	case r < ' ', r >= 0x7f && r <= 0x9f: // C0, delete, C1.
		return false
	case r == 0x061c, r == 0x200b, r == 0x200e, r == 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f:
		// Marks, embeddings, overrides and isolates of direction; line and paragraph separators; characters of no width.
		return false
	case r == 0xfeff, r >= 0xfff9 && r <= 0xfffb, r >= 0xe0000 && r <= 0xe007f: // Byte order mark, annotations, tags.
		return false
	case r == 0xad, r == 0x115f, r == 0x1160, r == 0x180e, r == 0x3164, r == 0xffa0, r >= 0x1d173 && r <= 0x1d17a:
		// A hyphen that shows only at a line's end, fillers and a separator that look like nothing, marks of musical notation.
		return false
	}
	return true
}

// Is reports whether all of a text only shows itself. What is not UTF-8 doesn't.
func Is(text string) bool {
	for i, r := range text {
		if !Rune(r) || r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd") {
			return false
		}
	}
	return true
}

// Text returns a text with everything that doesn't only show itself written as an escape, such as \n or \u202e. Text that is printable
// already is returned as it is.
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

// Excerpt returns the beginning of a text, of at most so many characters, as Text does. It takes a time that the excerpt's length bounds.
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

// Note returns a message as an event can hold it, which is up to 1024 bytes: the API server drops one that is longer.
func Note(message string) string {
	const most, more = 1024, "…"
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most-len(more)], "") + more
}
