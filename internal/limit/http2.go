package limit

import (
	"encoding/binary"
	"time"
)

const (
	// perStream is what every request holds: its state, a goroutine, its response.
	perStream = 12 << 10
	// perFrame is what a DATA frame holds beyond its payload.
	perFrame = 512
	// perReply is what a reply to a frame outside of any request holds, until the client reads it.
	perReply = 256
	// minField is the least that a field counts toward the length of a header.
	minField = 32
	// maxFrame is the longest payload of a frame, HTTP/2's default.
	maxFrame = 16 << 10
	// afterReset is how long a handler may keep working on a request that the client has reset.
	afterReset = int64(time.Second)
)

// Types and flags of frames: RFC 9113, section 6.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePing         = 0x6
	frameWindowUpdate = 0x8
	frameContinuation = 0x9

	flagAck        = 0x1
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
)

// frame is the header of a frame, with the start of its payload.
type frame struct {
	length      int
	kind, flags byte
	stream      uint32
	// word is the number at the start of the payload, for the types where it matters: the stream that a PRIORITY depends
	// on, or the increment of a WINDOW_UPDATE.
	word uint32
}

const (
	headLength = 9
	wordLength = 4
)

// frames splits what goes over a connection in one direction into frames.
type frames struct {
	head [headLength + wordLength]byte
	have int // bytes of head
	left int // bytes of the payload that are to come
}

// next skips the rest of the previous frame and returns the next frame's header, and what follows it. It reports false
// if the header isn't complete yet.
func (f *frames) next(b []byte) (frame, []byte, bool) {
	skipped := min(f.left, len(b))
	f.left -= skipped
	b = f.fill(b[skipped:], headLength)
	if f.have < headLength {
		return frame{}, nil, false
	}
	found := frame{
		length: int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2]),
		kind:   f.head[3], flags: f.head[4],
		stream: binary.BigEndian.Uint32(f.head[5:]) &^ (1 << 31),
	}
	f.left = found.length
	if (found.kind == framePriority || found.kind == frameWindowUpdate) && found.length >= wordLength {
		if b = f.fill(b, headLength+wordLength); f.have < len(f.head) {
			f.left = 0 // Nothing of the payload is skipped until the header is complete.
			return frame{}, nil, false
		}
		found.word = binary.BigEndian.Uint32(f.head[headLength:]) &^ (1 << 31)
		f.left -= wordLength
	}
	f.have = 0
	return found, b, true
}

// fill fills the head up to a length, as far as the bytes reach, and returns the rest of them.
func (f *frames) fill(b []byte, length int) []byte {
	n := copy(f.head[min(f.have, length):length], b)
	f.have += n
	return b[n:]
}

// stream is a request under way. begun is when it began, held what it holds in bytes, and fields how many header fields
// it may have.
type stream struct {
	id     uint32
	held   int64
	begun  int64
	fields int32
	// complete means that all of the request was received.
	complete bool
}

// http2 is HTTP/2.
type http2 struct {
	bounds Bounds
	// preface is how many bytes of the preface are to come before the first frame.
	preface  int
	in, out  frames
	streams  []stream
	lastID   uint32
	blocks   int   // bytes of the header that is being received
	inBlocks bool  // a header is being received
	blocked  int64 // when it began

	held int64
	// stray is what a header outside of any request holds, and owed how many replies outside of any request have not been
	// sent.
	stray, owed int64
	// reset is what the requests that the client has reset held, and resetAt when the last one was.
	reset, resetAt int64
}

func newHTTP2(bounds Bounds) *http2 { return &http2{bounds: bounds, preface: len(preface)} }

func (m *http2) read(b []byte, at int64) bool {
	if m.reset > 0 && at-m.resetAt > afterReset {
		m.held -= m.reset
		m.reset = 0
	}
	n := min(m.preface, len(b))
	m.preface -= n
	b = b[n:]
	for {
		f, rest, ok := m.in.next(b)
		if !ok {
			return true
		}
		b = rest
		if f.length > maxFrame || !m.received(f, rest, at) {
			return false
		}
	}
}

// received processes a frame, given what follows its header. It reports whether the frame is allowed.
func (m *http2) received(f frame, b []byte, at int64) bool {
	if m.needsReply(f) {
		m.owed++
	}
	switch f.kind {
	case frameHeaders:
		m.blocks, m.inBlocks, m.blocked = 0, true, at
		s := m.find(f.stream)
		if s == nil && f.stream > m.lastID {
			s = m.open(f.stream, at)
		}
		if s != nil && f.flags&flagEndStream != 0 {
			s.complete = true
		}
		return len(m.streams) <= 4*m.bounds.Streams && m.block(f, b, s)
	case frameContinuation:
		return m.block(f, b, m.find(f.stream))
	case frameData:
		s := m.find(f.stream)
		if s == nil {
			return true
		}
		m.hold(s, int64(f.length)+perFrame)
		s.complete = s.complete || f.flags&flagEndStream != 0
	case frameReset:
		if s := m.find(f.stream); s != nil { // Its handler may not have noticed.
			m.reset, m.resetAt = m.reset+s.held, at
			m.held += s.held
			m.remove(s)
		}
	}
	return true
}

// needsReply reports whether a server replies to a frame outside of any request: with an acknowledgement, or by
// resetting a stream that isn't open or whose frame is invalid.
func (m *http2) needsReply(f frame) bool {
	switch f.kind {
	case framePing, frameSettings:
		return f.flags&flagAck == 0
	case frameData, frameHeaders:
		return f.stream <= m.lastID && m.find(f.stream) == nil
	case framePriority: // Invalid: the stream depends on itself.
		return f.word == f.stream
	case frameWindowUpdate: // Invalid: the increment is zero.
		return f.word == 0
	}
	return false
}

// block counts a part of a header. What a header holds when it is decoded depends on the number of its fields, which
// may take a single byte each.
func (m *http2) block(f frame, b []byte, s *stream) bool {
	m.blocks += f.length + headLength
	m.inBlocks = f.flags&flagEndHeaders == 0
	if s == nil { // The server decodes it before it looks for the stream.
		m.stray = 0
		if m.inBlocks {
			m.stray = int64(min(m.blocks, m.bounds.Header/minField))*perField + int64(2*m.blocks)
		}
		return m.blocks <= m.maxBlock()
	}
	most := m.bounds.Header/minField - int(s.fields)
	there := f.length
	if f.kind == frameHeaders && f.flags == f.flags&(flagEndStream|flagEndHeaders) && !m.inBlocks && len(b) >= f.length {
		there = fields(b[:f.length]) // The usual case: the whole header is in the buffer.
	}
	there = max(min(there, most), 0)
	s.fields += int32(there) //nolint:gosec // It is below Header.
	m.hold(s, int64(2*f.length)+int64(there)*perField)
	return m.blocks <= m.maxBlock()
}

// maxBlock returns how long an encoded header may be, with the headers of its frames. Servers limit its decoded length.
func (m *http2) maxBlock() int { return 2*m.bounds.Header + maxFrame }

func (m *http2) open(id uint32, at int64) *stream {
	m.lastID = id
	m.streams = append(m.streams, stream{id: id, begun: at})
	s := &m.streams[len(m.streams)-1]
	m.hold(s, perStream)
	return s
}

func (m *http2) hold(s *stream, bytes int64) {
	s.held += bytes
	m.held += bytes
}

func (m *http2) find(id uint32) *stream {
	for i := len(m.streams) - 1; i >= 0; i-- {
		if m.streams[i].id == id {
			return &m.streams[i]
		}
	}
	return nil
}

func (m *http2) remove(s *stream) {
	m.held -= s.held
	last := len(m.streams) - 1
	*s = m.streams[last]
	m.streams = m.streams[:last]
}

func (m *http2) wrote(b []byte) bool {
	ended := false
	for {
		f, rest, ok := m.out.next(b)
		if !ok {
			return ended
		}
		b = rest
		m.sent(f)
		if f.kind == frameReset || (f.kind == frameHeaders || f.kind == frameData) && f.flags&flagEndStream != 0 {
			if s := m.find(f.stream); s != nil {
				m.remove(s)
				ended = true
			}
		}
	}
}

// sent processes a frame that is sent, which may be a reply that was owed. Servers send those before a request's
// frames, so few can be owed when such a frame is sent: halving forgets replies that never come.
func (m *http2) sent(f frame) {
	switch f.kind {
	case frameHeaders:
		m.owed /= 2
	case framePing, frameSettings:
		if f.flags&flagAck != 0 {
			m.owed = max(m.owed-1, 0)
		}
	case frameReset:
		if m.find(f.stream) == nil {
			m.owed = max(m.owed-1, 0)
		}
	}
}

func (m *http2) idle() {}

func (m *http2) holds() int64 { return m.held + m.stray + m.owed*perReply }

func (m *http2) since() (stuck, asked int64) {
	if m.inBlocks {
		stuck = m.blocked
	}
	for i := range m.streams {
		s := &m.streams[i]
		if s.complete {
			asked = max(asked, s.begun)
		}
		if (!s.complete || !m.bounds.Lasting) && (stuck == 0 || s.begun < stuck) {
			stuck = s.begun
		}
	}
	return stuck, asked
}
