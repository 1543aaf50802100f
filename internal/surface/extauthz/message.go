package extauthz

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// message is what is read of an envoy.service.auth.v3.CheckRequest. Its strings are parts of the message's own, so that
// reading copies nothing.
type message struct {
	// described says that there is anything about an HTTP request.
	described                    bool
	method, path, host, fragment string
	// source is the address of the proxy's peer, where that is one of a socket; what it is of is a field of Address.
	source   string
	sourceOf protowire.Number
	// joined and lines count the headers of each of the two ways in which Envoy sends them.
	joined, lines int
	// headers are those that matter, in the order in which they came. Of several in the map with one name, there is the last.
	headers []header
	inline  [8]header
	// extensions are what the proxy's configuration says, as they came.
	extensions []extension
}

// header is a header that matters.
type header struct {
	which       which
	name, value string
}

type extension struct{ name, value string }

// maxHeaders is how many of the headers that matter a message may have. Envoy joins those of one name.
const maxHeaders = 64

// The fields of the messages that are read, and of those within them.
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

// parse reads a CheckRequest. It is false where that can't be decoded, or says a thing in a way that can't be relied on.
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
			var e extension
			e.name, e.value, ok = entry(value)
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

// parseAddress reads one of several kinds of addresses: the last that is there is the one that counts.
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

// parseHeader reads an entry of the map in which the values of a name are joined.
func (m *message) parseHeader(text string) bool {
	name, value, ok := entry(text)
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
	return m.keep(header{which, name, value})
}

// entry reads an entry of a map of strings.
func entry(text string) (name, value string, ok bool) {
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

// parseLines reads headers that come line by line.
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

// parseLine reads a header whose value is either text or bytes. It is false where there are both.
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
	return which == other || m.keep(header{which, name, value})
}

func (m *message) keep(h header) bool {
	m.headers = append(m.headers, h)
	return len(m.headers) <= maxHeaders
}

// which says what a header is to the decision.
type which uint8

const (
	other which = iota
	authorization
	tenant
	connection
	forwardedFor
	traceparent
	// Of these, what the request is described with must be the same.
	methodAgain
	pathAgain
	hostAgain
)

// known are the names that matter, by their length.
var known = func() (names [16][]header) {
	for _, h := range []header{
		{which: authorization, name: "authorization"}, {which: tenant, name: "x-tenant-id"}, {which: connection, name: "connection"},
		{which: forwardedFor, name: "x-forwarded-for"}, {which: traceparent, name: "traceparent"}, {which: methodAgain, name: ":method"},
		{which: pathAgain, name: ":path"}, {which: hostAgain, name: ":authority"}, {which: hostAgain, name: "host"},
	} {
		names[len(h.name)] = append(names[len(h.name)], h)
	}
	return names
}()

// whichOf compares a name without regard to case. All names that matter are ASCII, and so is what is equal to one and as long.
func whichOf(name string) which {
	if len(name) < len(known) {
		for i := range known[len(name)] {
			if h := &known[len(name)][i]; strings.EqualFold(name, h.name) {
				return h.which
			}
		}
	}
	return other
}
