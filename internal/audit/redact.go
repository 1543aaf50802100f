package audit

import "strings"

const (
	maxMethod = 64
	maxHost   = 512
	maxPath   = 2048
	// maxTarget is how much of a request target is read. It bounds the memory of queued entries.
	maxTarget = 4096
	// maxDecodings is how many layers of percent-encoding are decoded.
	maxDecodings = 5

	// afterUnderscore and alone are the lengths from which a run of letters and digits may be part of a token. A token is
	// an underscore and 57 such characters, 43 of which are secret. The lengths are lower, for tokens with a typo and
	// truncated ones.
	afterUnderscore = 20
	alone           = 40

	redacted = "[redacted]"
)

// path returns the path of a request target for the log. It leaves out the query, where clients put tokens and private
// data.
func path(target string) string {
	if end := strings.IndexAny(target, "?#"); end >= 0 {
		target = target[:end]
	}
	// Decoding may have revealed the beginning of a query.
	before, _, _ := strings.Cut(clean(target, maxPath), "?")
	return before
}

// clean returns a client's text for the log: decoded, so that no encoding hides a token, redacted and shortened.
func clean(s string, length int) string {
	for range maxDecodings {
		decoded := decode(s)
		if decoded == s {
			s = redact(s)
			if len(s) > length {
				s = s[:length] + "…"
			}
			return s
		}
		s = decoded
	}
	return redacted
}

// decode decodes one layer of percent-encoding, and leaves invalid escapes alone.
func decode(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	decoded := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16 {
			decoded = append(decoded, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		decoded = append(decoded, s[i])
	}
	return string(decoded)
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 255
}

// redact replaces every word that may contain most of a token. It also replaces other words that look like one.
func redact(s string) string {
	var b strings.Builder
	kept := 0
	for start := 0; start < len(s); {
		if !isWord(s[start]) {
			start++
			continue
		}
		end := start
		for end < len(s) && isWord(s[end]) {
			end++
		}
		if mayHoldToken(s[start:end]) {
			b.WriteString(s[kept:start])
			b.WriteString(redacted)
			kept = end
		}
		start = end
	}
	if kept == 0 {
		return s
	}
	b.WriteString(s[kept:])
	return b.String()
}

// mayHoldToken reports whether a word of letters, digits and underscores may contain a token.
func mayHoldToken(word string) bool {
	for i, part := range strings.Split(word, "_") {
		if len(part) >= alone || i > 0 && len(part) >= afterUnderscore {
			return true
		}
	}
	return false
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
}
