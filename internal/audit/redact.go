package audit

import "strings"

const (
	maxMethod = 64
	maxHost   = 512
	maxPath   = 2048
	// maxTarget is how much of a target is looked at. It bounds what is kept in memory.
	maxTarget = 4096
	// maxRounds is how often something may be percent-encoded.
	maxRounds = 5

	// afterUnderscore and alone are how many letters and digits in a row may be part of a token: a token is an underscore
	// and 57 of them, 43 of which are secret. Less than what is left of one with a typo, or cut short.
	afterUnderscore = 20
	alone           = 40

	redacted = "[redacted]"
)

// path returns the path of a request's target as it is written: without the query, in which clients put tokens and much
// else that is nobody's business.
func path(target string) string {
	if end := strings.IndexAny(target, "?#"); end >= 0 {
		target = target[:end]
	}
	// Encoded once more, a query begins there too.
	before, _, _ := strings.Cut(clean(target, maxPath), "?")
	return before
}

// clean returns something that a client sent as it is written: decoded, so that no encoding hides a token.
func clean(s string, length int) string {
	for range maxRounds {
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

// decode decodes percent-encoding once, and leaves alone what is none.
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

// redact replaces every word that may hold a token, or most of one. What else has the looks of a token goes with it.
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

// mayHoldToken looks at a word of letters, digits and underscores.
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
