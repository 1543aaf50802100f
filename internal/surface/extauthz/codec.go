package extauthz

import (
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Codec returns gRPC's own codec, except that it passes this package's messages in their wire format.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2(proto.Name)} }

type codec struct{ encoding.CodecV2 }

// wireRequest is an encoded CheckRequest. It is a copy, because strings of it outlive gRPC's read buffers.
type wireRequest struct{ wire string }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	check, ok := v.(*wireRequest)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	whole := data.MaterializeToBuffer(mem.DefaultBufferPool())
	check.wire = string(whole.ReadOnlyData())
	whole.Free()
	return nil
}

// wireResponse is an encoded CheckResponse. Its buffer is reused once it is sent.
type wireResponse []byte

// responseSize is more than most responses need.
const responseSize = 2048

func newResponse() *wireResponse { return (*wireResponse)(responses.Get(responseSize)) }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if r, ok := v.(*wireResponse); ok {
		return mem.BufferSlice{mem.NewBuffer((*[]byte)(r), responses)}, nil
	}
	return c.CodecV2.Marshal(v)
}

var responses = &buffers{}

// buffers implements mem.BufferPool. gRPC's own pool clears its buffers, which is not needed here: nothing reads more
// than was written.
type buffers struct{ pool sync.Pool }

// Get implements mem.BufferPool.
func (p *buffers) Get(size int) *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, size)
	return &b
}

// Put implements mem.BufferPool.
func (p *buffers) Put(b *[]byte) {
	*b = (*b)[:0]
	p.pool.Put(b)
}
