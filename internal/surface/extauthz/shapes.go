package extauthz

// The shapes of the parts of a CheckRequest that are not parsed, from Envoy's and Google's .proto files. Fields that
// are parsed are not in a shape, unless they are text.
var (
	textEntry = &shape{text: fields(1, 2)}
	anything  = &shape{}

	pipeShape          = &shape{text: fields(1)}
	internalShape      = &shape{text: fields(1, 2)}
	socketAddressShape = &shape{text: fields(2, 4, 5, 7)}
	addressShape       = &shape{nested: nested{addressPipe: pipeShape, addressInternal: internalShape}}
	// anyAddress is the shape of an Address that is not parsed.
	anyAddress = &shape{
		nested: nested{addressSocket: socketAddressShape, addressPipe: pipeShape, addressInternal: internalShape},
	}
	peerShape = &shape{text: fields(2, 4, 5), nested: nested{3: textEntry}}
	anyPeer   = &shape{text: fields(2, 4, 5), nested: nested{peerAddress: anyAddress, 3: textEntry}}

	requestShape = &shape{nested: nested{1: anything}}
	httpShape    = &shape{text: fields(1, httpMethod, httpPath, httpHost, 6, 7, httpFragment, 10, 11)}

	attributesShape = &shape{nested: nested{2: anyPeer, 11: metadataShape, 12: {text: fields(1)}, 13: metadataShape}}

	// metadataShape has maps of google.protobuf.Struct and of google.protobuf.Any.
	metadataShape = &shape{nested: nested{
		1: {text: fields(1), nested: nested{2: newStructShape()}},
		2: {text: fields(1), nested: nested{2: {text: fields(1)}}},
	}}
)

// newStructShape returns the shape of a google.protobuf.Struct, whose values contain structs and lists of values.
func newStructShape() *shape {
	object, value := &shape{}, &shape{text: fields(3)}
	object.nested = nested{1: {text: fields(1), nested: nested{2: value}}}
	value.nested = nested{5: object, 6: {nested: nested{1: value}}}
	return object
}
