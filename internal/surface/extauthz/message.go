package extauthz

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// message has the parts of an envoy.service.auth.v3.CheckRequest that are needed. Its strings are substrings of the
// encoded message, so parsing copies nothing.
type message struct {
	// described means that the message is about an HTTP request.
	described                    bool
	method, path, host, fragment string
	// source is the address of the proxy's peer, if it is a socket's, and the field of Address that it was in.
	source   string
	sourceOf protowire.Number
	// joined and lines count the headers in each of the two forms in which Envoy sends them.
	joined, lines int
	// headers are the known headers, in order. If the map has a name several times, the last value counts.
	headers []knownHeader
	inline  [8]knownHeader
	// extensions are the entries of context_extensions, in order.
	extensions []contextExtension
}

// knownHeader is a known header.
type knownHeader struct {
	which       headerKind
	name, value string
}

type contextExtension struct{ name, value string }

// maxHeaders is how many known headers a message may have. Envoy joins those of one name.
const maxHeaders = 64

// The fields of CheckRequest that are read, and those of the messages within it.
const (
	checkAttributes protowire.Number = 1

	attributesSource     protowire.Number = 1
	attributesRequest    protowire.Number = 4
	attributesExtensions protowire.Number = 10

	peerAddress          protowire.Number = 1
	addressSocket        protowire.Number = 1
	addressPipe          protowire.Number = 2
	addressInternal      protowire.Number = 3
	socketAddressAddress protowire.Number = 2

	requestHTTP protowire.Number = 2

	httpMethod    protowire.Number = 2
	httpHeaders   protowire.Number = 3
	httpPath      protowire.Number = 4
	httpHost      protowire.Number = 5
	httpFragment  protowire.Number = 8
	httpHeaderMap protowire.Number = 13

	headerMapHeaders protowire.Number = 1
	headerKey        protowire.Number = 1
	headerValue      protowire.Number = 2
	headerRawValue   protowire.Number = 3
)

// parse parses a CheckRequest. It returns false if the message can't be decoded or is ambiguous.
func (m *message) parse(check string) bool {
	m.headers = m.inline[:0]
	for w := wire(check); w != ""; {
		number, value, ok := w.next()
		if ok && number == checkAttributes {
			ok = m.parseAttributes(wire(value))
		}
		if !ok {
			return false
		}
	}
	return true
}

func (m *message) parseAttributes(w wire) bool {
	for w != "" {
		number, value, ok := w.next()
		switch {
		case !ok:
		case number == attributesSource:
			ok = m.parsePeer(wire(value))
		case number == attributesRequest:
			ok = m.parseRequest(wire(value))
		case number == attributesExtensions:
			var e contextExtension
			e.name, e.value, ok = parseEntry(value)
			m.extensions = append(m.extensions, e)
		default:
			ok = attributesShape.fits(number, value, maxNesting)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (m *message) parsePeer(w wire) bool {
	for w != "" {
		number, value, ok := w.next()
		if ok && number == peerAddress {
			ok = m.parseAddress(wire(value))
		} else if ok {
			ok = peerShape.fits(number, value, maxNesting)
		}
		if !ok {
			return false
		}
	}
	return true
}

// parseAddress parses an Address, which is one of several kinds: the last one that is there counts.
func (m *message) parseAddress(w wire) bool {
	for w != "" {
		number, value, ok := w.next()
		if ok && (number == addressSocket || number == addressPipe || number == addressInternal) && m.sourceOf != number {
			m.source, m.sourceOf = "", number
		}
		if ok && number == addressSocket {
			ok = m.parseSocketAddress(wire(value))
		} else if ok {
			ok = addressShape.fits(number, value, maxNesting)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (m *message) parseSocketAddress(w wire) bool {
	for w != "" {
		number, value, ok := w.next()
		if !ok || !socketAddressShape.fits(number, value, maxNesting) {
			return false
		}
		if number == socketAddressAddress {
			m.source = value
		}
	}
	return true
}

func (m *message) parseRequest(w wire) bool {
	for w != "" {
		number, value, ok := w.next()
		if ok && number == requestHTTP {
			m.described = true
			ok = m.parseHTTP(wire(value))
		} else if ok {
			ok = requestShape.fits(number, value, maxNesting)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (m *message) parseHTTP(w wire) bool {
	for w != "" {
		number, value, ok := w.next()
		if !ok || !httpShape.fits(number, value, maxNesting) {
			return false
		}
		switch number {
		case httpMethod:
			m.method = value
		case httpPath:
			m.path = value
		case httpHost:
			m.host = value
		case httpFragment:
			m.fragment = value
		case httpHeaders:
			ok = m.parseHeader(value)
		case httpHeaderMap:
			ok = m.parseLines(wire(value))
		}
		if !ok {
			return false
		}
	}
	return true
}

// parseHeader parses an entry of the map in which the values of one name are joined.
func (m *message) parseHeader(text string) bool {
	name, value, ok := parseEntry(text)
	m.joined++
	which := whichOf(name)
	if !ok || which == other {
		return ok
	}
	for i := range m.headers {
		if h := &m.headers[i]; h.which == which && h.name == name {
			h.value = value
			return true
		}
	}
	return m.keep(knownHeader{which, name, value})
}

// parseEntry parses an entry of a map of strings.
func parseEntry(text string) (name, value string, ok bool) {
	for w := wire(text); w != ""; {
		number, field, ok := w.next()
		if !ok || !textEntry.fits(number, field, 0) {
			return "", "", false
		}
		switch number {
		case headerKey:
			name = field
		case headerValue:
			value = field
		}
	}
	return name, value, true
}

// parseLines parses headers that are sent one by one.
func (m *message) parseLines(w wire) bool {
	for w != "" {
		number, value, ok := w.next()
		if ok && number == headerMapHeaders {
			ok = m.parseLine(wire(value))
		}
		if !ok {
			return false
		}
	}
	return true
}

// parseLine parses a header whose value is either text or bytes. It returns false if there are both.
func (m *message) parseLine(w wire) bool {
	var name, value, raw string
	for w != "" {
		number, field, ok := w.next()
		if !ok || number != headerRawValue && !textEntry.fits(number, field, 0) {
			return false
		}
		switch number {
		case headerKey:
			name = field
		case headerValue:
			value = field
		case headerRawValue:
			raw = field
		}
	}
	m.lines++
	if raw != "" {
		if value != "" {
			return false
		}
		value = raw
	}
	which := whichOf(name)
	return which == other || m.keep(knownHeader{which, name, value})
}

func (m *message) keep(h knownHeader) bool {
	m.headers = append(m.headers, h)
	return len(m.headers) <= maxHeaders
}

// headerKind identifies a known header.
type headerKind uint8

const (
	other headerKind = iota
	authorization
	tenant
	connection
	forwardedFor
	traceparent
	// The following must equal the request's method, path and host.
	methodAgain
	pathAgain
	hostAgain
)

// known has the known headers by the length of their names.
var known = func() (names [16][]knownHeader) {
	for _, h := range []knownHeader{
		{which: authorization, name: "authorization"}, {which: tenant, name: "x-tenant-id"},
		{which: connection, name: "connection"}, {which: forwardedFor, name: "x-forwarded-for"},
		{which: traceparent, name: "traceparent"}, {which: methodAgain, name: ":method"},
		{which: pathAgain, name: ":path"}, {which: hostAgain, name: ":authority"}, {which: hostAgain, name: "host"},
	} {
		names[len(h.name)] = append(names[len(h.name)], h)
	}
	return names
}()

// whichOf looks a name up without regard to case. All known names are ASCII, and so is every name that equals one and
// is as long.
func whichOf(name string) headerKind {
	if len(name) < len(known) {
		for i := range known[len(name)] {
			if h := &known[len(name)][i]; strings.EqualFold(name, h.name) {
				return h.which
			}
		}
	}
	return other
}
