package extauthz

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/nexuscommerce/apikey-operator/internal/authresponse"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// The fields of an envoy.service.auth.v3.CheckResponse that are written, and of the messages within it.
const (
	responseStatus   protowire.Number = 1
	responseDenied   protowire.Number = 2
	responseOK       protowire.Number = 3
	responseMetadata protowire.Number = 4

	statusCode protowire.Number = 1 // of google.rpc.Status, and of envoy.type.v3.HttpStatus

	okHeaders  protowire.Number = 2
	okToRemove protowire.Number = 5

	deniedStatus  protowire.Number = 1
	deniedHeaders protowire.Number = 2
	deniedBody    protowire.Number = 3

	optionHeader protowire.Number = 1
	optionAction protowire.Number = 3
	// overwrite replaces any header of the same name. Older versions of Envoy do so unless they are told to append, and don't
	// know append_action; newer ones would add to the client's own without it.
	overwrite = 2 // HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD

	structFields protowire.Number = 1
	entryKey     protowire.Number = 1
	entryValue   protowire.Number = 2
	valueString  protowire.Number = 3
	valueList    protowire.Number = 6
	listValues   protowire.Number = 1
)

// A message is written into what is there of the answer, and its length in front of it: what is within each other is so
// written once, and no size is worked out beforehand.

// open begins a field that is a message or text. It returns where the content begins.
func open(b []byte, field protowire.Number) ([]byte, int) {
	b = append(protowire.AppendTag(b, field, protowire.BytesType), 0) // Most are shorter than 128 bytes, whose length is one.
	return b, len(b)
}

// shut ends the field whose content begins at a place.
func shut(b []byte, begin int) []byte {
	length := len(b) - begin
	if length < 1<<7 {
		b[begin-1] = byte(length) //nolint:gosec // It fits.
		return b
	}
	more := protowire.SizeVarint(uint64(length)) - 1
	b = append(b, "\x00\x00\x00\x00\x00\x00\x00\x00\x00"[:more]...)
	copy(b[begin+more:], b[begin:begin+length])
	protowire.AppendVarint(b[:begin-1], uint64(length))
	return b
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}

func appendNumber(b []byte, field protowire.Number, number uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), number)
}

// appendHeader writes a header that replaces any of the same name.
func appendHeader(b []byte, field protowire.Number, h authresponse.Header) []byte {
	b, option := open(b, field)
	b, header := open(b, optionHeader)
	b = appendText(b, headerKey, h.Name)
	b = appendText(b, headerValue, h.Value)
	b = shut(b, header)
	b = appendNumber(b, optionAction, overwrite)
	return shut(b, option)
}

// appendPass lets a request through to the upstream, with the identity headers that have a value, and says who calls to
// whatever else runs in the proxy.
func (g *GRPC) appendPass(b []byte, decision verify.Decision) []byte {
	b, status := open(b, responseStatus) // Blank is OK.
	b = shut(b, status)
	b, pass := open(b, responseOK)
	identity := authresponse.Identity(decision)
	for _, header := range identity {
		if header.Value != "" {
			b = appendHeader(b, okHeaders, header)
		}
	}
	for i, header := range identity {
		if header.Value == "" {
			b = appendText(b, okToRemove, identityNames[i])
		}
	}
	b = append(b, g.always...)
	b = shut(b, pass)
	return appendMetadata(b, decision)
}

// appendMetadata writes what Envoy's rate limits, access logs and other filters may know of a request that passes. A request
// that passes as nobody has none.
func appendMetadata(b []byte, decision verify.Decision) []byte {
	grant := &decision.Grant
	if !grant.Known() {
		return b
	}
	b, metadata := open(b, responseMetadata)
	b = appendEntry(b, "key_id", grant.CredentialID)
	b = appendEntry(b, "key_name", grant.Name)
	b = appendEntry(b, "tenant", decision.TenantID)

	b, entry := open(b, structFields)
	b = appendText(b, entryKey, "scopes")
	b, value := open(b, entryValue)
	b, list := open(b, valueList)
	for scope := range strings.FieldsSeq(grant.ScopesHeader) {
		var item int
		b, item = open(b, listValues)
		b = appendText(b, valueString, scope)
		b = shut(b, item)
	}
	return shut(shut(shut(shut(b, list), value), entry), metadata)
}

// appendEntry writes a field of a google.protobuf.Struct.
func appendEntry(b []byte, key, text string) []byte {
	b, entry := open(b, structFields)
	b = appendText(b, entryKey, key)
	b, value := open(b, entryValue)
	b = appendText(b, valueString, text)
	return shut(shut(b, value), entry)
}

// appendRefusal has the proxy answer the client itself. It is a denial whatever the reason: an error would be for the proxy's
// configuration to judge, and may pass there.
func appendRefusal(b []byte, decision verify.Decision, host string) []byte {
	code, httpStatus := codes.PermissionDenied, 403
	switch decision.Outcome {
	case verify.Unauthorized:
		code, httpStatus = codes.Unauthenticated, 401
	case verify.Unavailable:
		// Over HTTP most proxies would take this for a fault of the verifier. Here it is only what the client gets.
		httpStatus = 503
	case verify.Forbidden, verify.Allow:
	}
	b, status := open(b, responseStatus)
	b = shut(appendNumber(b, statusCode, uint64(code)), status)
	b, denied := open(b, responseDenied)
	b, answered := open(b, deniedStatus)
	b = shut(appendNumber(b, statusCode, uint64(httpStatus)), answered)
	for _, header := range authresponse.AppendRefusal(nil, &decision, host) {
		b = appendHeader(b, deniedHeaders, header)
	}
	b = appendText(b, deniedBody, decision.Body())
	return shut(b, denied)
}
