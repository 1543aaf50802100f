package secretdata

import (
	"encoding/base64"
	"fmt"
	"unicode/utf8"

	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// encoder encodes a text for a format in which some characters have a special meaning. It is pure, and takes time and
// memory in proportion to the text.
type encoder struct {
	// size returns the length of what append appends.
	size   func(text string) int
	append func(out []byte, text string) []byte
	// opaque means that the output is printable, whatever the input.
	opaque bool
}

const (
	joinName = "join"
	jsonName = "json"
)

// encoderNames has the encoders' names in the order in which messages list them.
var encoderNames = []string{jsonName, "base64", "urlquery", "html", "shell"}

var encoders = map[string]*encoder{
	// A JSON string with its quotes, which is also valid in YAML, TOML and curl's configuration files.
	jsonName: byCharacter(`"`, `"`, true, appendJSON),
	// RFC 4648, section 4.
	"base64": {
		size:   func(text string) int { return base64.StdEncoding.EncodedLen(len(text)) },
		append: func(out []byte, text string) []byte { return base64.StdEncoding.AppendEncode(out, []byte(text)) },
		opaque: true,
	},
	// application/x-www-form-urlencoded.
	"urlquery": byCharacter("", "", true, appendURLQuery),
	// The content of an element or of a quoted attribute, in HTML and XML.
	"html": byCharacter("", "", false, appendHTML),
	// A word of a POSIX shell, with its quotes.
	"shell": byCharacter("'", "'", false, appendShell),
}

// byCharacter returns an encoder that encodes each character by itself, between quotes. An invalid byte counts as a
// character.
func byCharacter(opens, closes string, opaque bool, encode func(out []byte, character string) []byte) *encoder {
	each := func(text string, emit func(character string)) {
		for text != "" {
			_, width := utf8.DecodeRuneInString(text)
			emit(text[:width])
			text = text[width:]
		}
	}
	return &encoder{
		size: func(text string) int {
			var scratch [16]byte
			size := len(opens) + len(closes)
			each(text, func(character string) { size += len(encode(scratch[:0], character)) })
			return size
		},
		append: func(out []byte, text string) []byte {
			out = append(out, opens...)
			each(text, func(character string) { out = encode(out, character) })
			return append(out, closes...)
		},
		opaque: opaque,
	}
}

func appendJSON(out []byte, character string) []byte {
	switch character {
	case `"`, `\`:
		return append(append(out, '\\'), character...)
	case "\n":
		return append(out, `\n`...)
	case "\r":
		return append(out, `\r`...)
	case "\t":
		return append(out, `\t`...)
	}
	switch r, width := utf8.DecodeRuneInString(character); {
	case r == utf8.RuneError && width == 1:
		return append(out, `\ufffd`...)
	case printable.Rune(r):
		return append(out, character...)
	case r > 0xffff: // A surrogate pair: RFC 8259, section 7.
		r -= 0x10000
		return fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
	default:
		return fmt.Appendf(out, `\u%04x`, r)
	}
}

func appendURLQuery(out []byte, character string) []byte {
	for i := range len(character) {
		switch c := character[i]; {
		case isWord(c), c == '-', c == '.', c == '~':
			out = append(out, c)
		case c == ' ':
			out = append(out, '+')
		default:
			const digits = "0123456789ABCDEF"
			out = append(out, '%', digits[c>>4], digits[c&15])
		}
	}
	return out
}

func appendHTML(out []byte, character string) []byte {
	switch character {
	case `"`:
		return append(out, "&#34;"...)
	case "'":
		return append(out, "&#39;"...)
	case "&":
		return append(out, "&amp;"...)
	case "<":
		return append(out, "&lt;"...)
	case ">":
		return append(out, "&gt;"...)
	case "\x00":
		return append(out, "\ufffd"...)
	}
	return append(out, character...)
}

func appendShell(out []byte, character string) []byte {
	if character == "'" {
		return append(out, `'\''`...)
	}
	return append(out, character...)
}
