package extauthz

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/nexuscommerce/apikey-operator/internal/authresponse"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// The fields of an envoy.service.auth.v3.CheckResponse that are written, and those of the messages within it.
const (
	responseStatus   protowire.Number = 1
	responseDenied   protowire.Number = 2
	responseOK       protowire.Number = 3
	responseMetadata protowire.Number = 4

	statusCode protowire.Number = 1 // in google.rpc.Status and in envoy.type.v3.HttpStatus

	okHeaders  protowire.Number = 2
	okToRemove protowire.Number = 5

	deniedStatus  protowire.Number = 1
	deniedHeaders protowire.Number = 2
	deniedBody    protowire.Number = 3

	optionHeader protowire.Number = 1
	optionAction protowire.Number = 3
	// overwrite replaces any header of the same name. Older versions of Envoy do so unless they are told to append, and
	// don't know append_action. Newer ones would append to the client's own without it.
	overwrite = 2 // HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD

	structFields protowire.Number = 1
	entryKey     protowire.Number = 1
	entryValue   protowire.Number = 2
	valueString  protowire.Number = 3
	valueList    protowire.Number = 6
	listValues   protowire.Number = 1
)

// Messages are encoded in place, in one pass: the content is appended, and its length is then inserted in front of it.

// open begins a field that is a message or text. It returns where the content begins.
func open(b []byte, field protowire.Number) ([]byte, int) {
	b = append(protowire.AppendTag(b, field, protowire.BytesType), 0) // Room for the length of content below 128 bytes.
	return b, len(b)
}

// shut ends the field whose content begins at begin.
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

// appendHeader appends a header that replaces any of the same name.
func appendHeader(b []byte, field protowire.Number, h authresponse.Header) []byte {
	b, option := open(b, field)
	b, header := open(b, optionHeader)
	b = appendText(b, headerKey, h.Name)
	b = appendText(b, headerValue, h.Value)
	b = shut(b, header)
	b = appendNumber(b, optionAction, overwrite)
	return shut(b, option)
}

// appendPass appends the answer for an allowed request: the identity headers that have a value, the headers to remove,
// and metadata for the proxy's other filters.
func (g *GRPC) appendPass(b []byte, decision verify.Decision) []byte {
	b, status := open(b, responseStatus) // An empty status is OK.
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

// appendMetadata appends the metadata of an allowed request for Envoy's rate limits, access logs and other filters. An
// anonymous request has none.
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

// appendEntry appends a field of a google.protobuf.Struct.
func appendEntry(b []byte, key, text string) []byte {
	b, entry := open(b, structFields)
	b = appendText(b, entryKey, key)
	b, value := open(b, entryValue)
	b = appendText(b, valueString, text)
	return shut(shut(b, value), entry)
}

// appendRefusal appends the answer that the proxy sends to the client. It is a denial whatever the reason: with an
// error, the proxy's configuration could let the request pass.
func appendRefusal(b []byte, decision verify.Decision, host string) []byte {
	code, httpStatus := codes.PermissionDenied, 403
	switch decision.Outcome {
	case verify.Unauthorized:
		code, httpStatus = codes.Unauthenticated, 401
	case verify.Unavailable:
		// Over HTTP most proxies would treat this status as a failure of the verifier. Here it only goes to the client.
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
