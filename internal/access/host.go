package access

import (
	"net/netip"
	"strings"
)

const (
	// maxHost is the length of the longest host name: RFC 1035 section 2.3.4, without the length bytes of the root and of
	// the first label.
	maxHost = 253
	// maxPort is the length of ":65535".
	maxPort = 6
)

// hostBytes are the characters of a host name. No policy's host has an underscore, but a host that matches a wildcard
// may.
var hostBytes = newByteSet(lowerCase + upperCase + digits + "-._")

// CanonicalHost returns the host that the value of a Host header (or HTTP/2's :authority) names, in the form that
// Matcher.Route takes: lower case (RFC 3986 section 3.2.2; hosts compared with their case are CVE-2021-39155), without
// port and without the root's trailing dot (RFC 3986 section 3.2.2, RFC 1034 section 3.1). It reports false for an
// authority that a proxy or an application could read as another host:
//
//   - user information (RFC 9110 section 4.2.4), more than one colon, an empty or invalid port;
//   - an empty name or label, percent-encoding, spaces, commas (two headers joined), control characters;
//   - characters beyond ASCII: names are sent in their ASCII form (RFC 5891), and implementations normalise other
//     characters differently (CVE-2019-9636);
//   - anything longer than a host name and a port can be.
//
// An IPv6 address comes in brackets and keeps them, in its shortest form (RFC 5952); a zone is refused (RFC 6874 gives
// it no place on the wire). An IPv4 address is a name like any other. Only what is not canonical yet allocates.
func CanonicalHost(authority string) (host string, ok bool) {
	if len(authority) > maxHost+1+maxPort {
		return "", false
	}
	if plainHost(authority) {
		return authority, true
	}
	if strings.HasPrefix(authority, "[") {
		return canonicalIPv6(authority)
	}
	name, port, found := strings.Cut(authority, ":")
	if found && !validPort(port) {
		return "", false
	}
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > maxHost || !hostBytes.containsAll(name) ||
		name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, "..") {
		return "", false
	}
	return strings.ToLower(name), true
}

// plainHostBytes are those of hostBytes that are canonical.
var plainHostBytes = newByteSet(lowerCase + digits + "-._")

// plainHost reports whether an authority is a canonical host name already, as nearly all are.
func plainHost(authority string) bool {
	before := byte('.')
	for i := range len(authority) {
		c := authority[i]
		if !plainHostBytes.contains(c) || c == '.' && before == '.' {
			return false
		}
		before = c
	}
	return before != '.' && len(authority) <= maxHost
}

// canonicalIPv6 is CanonicalHost for an authority that starts with a bracket.
func canonicalIPv6(authority string) (string, bool) {
	literal, port, found := strings.Cut(authority[1:], "]")
	if !found || (port != "" && (port[0] != ':' || !validPort(port[1:]))) {
		return "", false
	}
	address, err := netip.ParseAddr(literal)
	if err != nil || !address.Is6() || address.Zone() != "" {
		return "", false
	}
	var canonical [len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]")]byte
	if text := address.AppendTo(canonical[:0]); string(text) != literal {
		return "[" + string(text) + "]", true
	}
	return authority[:len(literal)+2], true
}

// validPort reports whether s is a number from 1 to 65535 in at most five digits.
func validPort(s string) bool {
	if s == "" || len(s) >= maxPort {
		return false
	}
	port := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		port = 10*port + int(s[i]-'0')
	}
	return 1 <= port && port <= 65535
}
