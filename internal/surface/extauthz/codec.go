package extauthz

import (
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Codec returns gRPC's own codec, save that a CheckRequest which can't be decoded becomes one that says nothing, which is
// refused. By itself gRPC would answer with an error, and a client could bring that about: what isn't UTF-8 in a header is no
// string in a message.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2(proto.Name)} }

type codec struct{ encoding.CodecV2 }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	err := c.CodecV2.Unmarshal(data, v)
	if check, ok := v.(*authv3.CheckRequest); ok && err != nil {
		check.Reset()
		return nil
	}
	return err
}
