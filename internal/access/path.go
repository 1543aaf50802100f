package access

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxTarget is the length of the longest request target that is accepted, in bytes: nginx's default. RFC 9112 section 3
// requires at least 8000.
const maxTarget = 8192

const (
	lowerCase = "abcdefghijklmnopqrstuvwxyz"
	upperCase = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits    = "0123456789"
)

var (
	// pathBytes are the characters that RFC 3986 section 3.3 admits in a path, without the semicolon.
	pathBytes = newByteSet("/%" + lowerCase + upperCase + digits + "-._~" + "!$&'()*+,=" + ":@")
	// queryBytes are the ASCII characters that may follow the question mark. Only those that could end the query or the
	// target matter, so characters that RFC 3986 requires to be encoded and browsers don't encode, such as | and [, are
	// accepted.
	queryBytes = newByteSet("/?%" + lowerCase + upperCase + digits + "-._~" + "!$&'()*+,;=" + ":@" + "\"<>[\\]^`{|}")
	// ambiguousEscapes are the printable characters that have another meaning encoded than plain, or that some decode to a
	// path of other segments.
	ambiguousEscapes = newByteSet(`/\%;?#.`)
)

// CanonicalPath returns the path of a request target, percent-decoded once, in the form that Matcher.Route takes. The
// target is as the client sent it, not decoded, with or without a query. It reports false for a target that some
// proxies or applications in use read as another path than others do, so that the path that is matched is the one that
// is served:
//
//   - a target that isn't a path: absolute, authority and asterisk form, RFC 9112 section 3.2; an empty one;
//   - empty segments, which many collapse: CVE-2021-29492 (Envoy), CVE-2021-31920 (Istio);
//   - the segments . and .., RFC 3986 section 5.2.4, CVE-2019-9901 (Envoy), and any other segment that ends in a dot: a
//     proxy that strips the prefix /api turns /api../x into ../x, CVE-2026-48020 and CVE-2026-40912 (Traefik), and
//     Windows drops the dot;
//   - the semicolon, plain or encoded: path parameters, RFC 3986 section 3.3, which Java removes from /..;/ before it
//     looks for dots, CVE-2020-5902 (BIG-IP), CVE-2020-1957 and CVE-2020-13933 (Shiro), CVE-2016-9879 (Spring);
//   - the backslash, plain or encoded, which some take for a slash: CVE-2021-29492;
//   - a fragment: it has no place in a target, and some cut it off, CVE-2021-32779 (Envoy), CVE-2021-39156 (Istio);
//   - escapes of / \ % ; ? # . and of control characters: decoded by some and not by others, or twice by some,
//     CVE-2025-66490 (Traefik); line breaks end the dot of a regular expression, CVE-2022-22978 (Spring Security);
//   - malformed escapes, among them IIS's %u002f: RFC 3986 section 2.1;
//   - what doesn't decode to UTF-8, such as the overlong %c0%af: RFC 3629 section 3;
//   - characters beyond ASCII whose compatibility form has one of the characters above, such as the full-width slash:
//     UAX #15, CVE-2019-9636 (Python) for the same in a host;
//   - white space at either end of a segment, which some trim: CVE-2016-5007 (Spring), CVE-2020-17523 (Shiro);
//   - characters that RFC 3986 section 3.3 requires to be encoded: spaces, control characters, bytes beyond ASCII,
//     "<>[]^`{|};
//   - a query with a space, a control character or a number sign, which could end it, or that isn't UTF-8;
//   - more than 8192 bytes.
//
// Every other escape is decoded: /api/%70roducts is /api/products. A trailing slash is kept. Only a path with escapes
// allocates. The query is ignored: no decision depends on it. It begins at the first question mark, may have more of
// them, RFC 3986 section 3.4, and letters beyond ASCII, which clients such as curl don't encode.
func CanonicalPath(target string) (path string, ok bool) {
	if len(target) > maxTarget || !strings.HasPrefix(target, "/") {
		return "", false
	}
	if end := plainPath(target); end > 0 {
		if !plainQuery(target[min(end+1, len(target)):]) {
			return "", false
		}
		return target[:end], true
	}
	path, query, _ := strings.Cut(target, "?")
	if !pathBytes.containsAll(path) || !plainQuery(query) {
		return "", false
	}
	if strings.Contains(path, "%") {
		if path, ok = decode(path); !ok {
			return "", false
		}
	}
	if !plainSegments(path) {
		return "", false
	}
	return path, true
}

// plainQuery reports whether a query ends at the end of the target for every reader.
func plainQuery(query string) bool {
	if queryBytes.containsAll(query) {
		return true
	}
	for _, r := range query {
		refused := r < utf8.RuneSelf && !queryBytes.contains(byte(r)) //nolint:gosec // It is ASCII.
		if refused || unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return false
		}
	}
	return utf8.ValidString(query)
}

// Flaw is the part of a request target that CanonicalPath objects to.
type Flaw int

// The flaws of a target.
const (
	FlawPath Flaw = iota
	FlawQuery
	FlawLength
)

// FlawOf returns why CanonicalPath refuses a target.
func FlawOf(target string) Flaw {
	if len(target) > maxTarget {
		return FlawLength
	}
	path, _, _ := strings.Cut(target, "?")
	if _, ok := CanonicalPath(path); ok {
		return FlawQuery
	}
	return FlawPath
}

// plainBytes are those of pathBytes that are not part of an escape.
var plainBytes = newByteSet("/" + lowerCase + upperCase + digits + "-._~" + "!$&'()*+,=" + ":@")

// plainPath returns the length of the path in a target whose path has nothing to decode and nothing to object to, as
// nearly all have, and 0 for one that needs a closer look.
func plainPath(target string) (end int) {
	before := byte('-')
	for ; end < len(target) && target[end] != '?'; end++ {
		c := target[end]
		if !plainBytes.contains(c) || c == '/' && (before == '/' || before == '.') {
			return 0
		}
		before = c
	}
	if before == '.' {
		return 0
	}
	return end
}

// decode resolves percent-encoding, and reports false where the result is ambiguous whatever segment it is in.
func decode(raw string) (string, bool) {
	decoded := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '%' {
			if i+2 >= len(raw) {
				return "", false
			}
			high, low := unhex(raw[i+1]), unhex(raw[i+2])
			if high > 0xf || low > 0xf {
				return "", false
			}
			if c = high<<4 | low; c < ' ' || c == 0x7f || ambiguousEscapes.contains(c) {
				return "", false
			}
			i += 2
		}
		decoded = append(decoded, c)
	}
	if !utf8.Valid(decoded) {
		return "", false
	}
	path := string(decoded)
	for _, r := range path {
		if r >= utf8.RuneSelf && ambiguousRune(r) {
			return "", false
		}
	}
	return path, true
}

// plainSegments reports whether no segment but the last is empty, none ends in a dot and none has white space at an
// end. The path starts with a slash.
func plainSegments(path string) bool {
	rest, more := path[1:], true
	for more {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if segment == "" {
			return !more
		}
		if segment[len(segment)-1] == '.' || len(strings.TrimSpace(segment)) != len(segment) {
			return false
		}
	}
	return true
}

// ambiguousRune reports whether a character beyond ASCII is a control character, breaks a line (ECMA-262 section 12.3,
// java.util.regex.Pattern) or normalises to one of the characters that segments are made with.
func ambiguousRune(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(delimiterLike, r)
}

// delimiterLike holds the characters beyond ASCII whose compatibility form (NFKC, Unicode 15) has one of / \ % ; ? # .
var delimiterLike = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x037e, Hi: 0x037e, Stride: 1}, // Greek question mark: a semicolon, in every normal form
		{Lo: 0x2024, Hi: 0x2026, Stride: 1}, // one, two and three dots
		{Lo: 0x2047, Hi: 0x2049, Stride: 1}, // double question and exclamation marks
		{Lo: 0x2100, Hi: 0x2101, Stride: 1}, // a/c, a/s
		{Lo: 0x2105, Hi: 0x2106, Stride: 1}, // c/o, c/u
		{Lo: 0x2488, Hi: 0x249b, Stride: 1}, // 1. to 20.
		{Lo: 0x33c2, Hi: 0x33c2, Stride: 1}, // a.m.
		{Lo: 0x33c7, Hi: 0x33c7, Stride: 1}, // Co.
		{Lo: 0x33d8, Hi: 0x33d8, Stride: 1}, // p.m.
		{Lo: 0xfe14, Hi: 0xfe16, Stride: 2}, // vertical ; ?
		{Lo: 0xfe19, Hi: 0xfe19, Stride: 1}, // vertical three dots
		{Lo: 0xfe30, Hi: 0xfe30, Stride: 1}, // vertical two dots
		{Lo: 0xfe52, Hi: 0xfe56, Stride: 2}, // small . ; ?
		{Lo: 0xfe5f, Hi: 0xfe5f, Stride: 1}, // small #
		{Lo: 0xfe68, Hi: 0xfe6a, Stride: 2}, // small \ %
		{Lo: 0xff03, Hi: 0xff05, Stride: 2}, // full-width # %
		{Lo: 0xff0e, Hi: 0xff0f, Stride: 1}, // full-width . /
		{Lo: 0xff1b, Hi: 0xff1f, Stride: 4}, // full-width ; ?
		{Lo: 0xff3c, Hi: 0xff3c, Stride: 1}, // full-width \
	},
	R32: []unicode.Range32{{Lo: 0x1f100, Hi: 0x1f100, Stride: 1}}, // 0.
}
