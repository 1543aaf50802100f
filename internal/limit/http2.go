package limit

import (
	"encoding/binary"
	"time"
)

const (
	// perStream is what a request holds however short it is: its state, a goroutine, its answer.
	perStream = 12 << 10
	// perFrame is what a frame of data holds beyond its length.
	perFrame = 512
	// minField is how much a field counts at least of what a header may have.
	minField = 32
	// maxFrame is how long a frame may be where nothing else was agreed upon.
	maxFrame = 16 << 10
	// afterReset is how long a request may be worked on that the client has given up.
	afterReset = int64(time.Second)
)

// Types and flags of frames: RFC 9113, section 6.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameReset        = 0x3
	frameContinuation = 0x9

	flagEndStream  = 0x1
	flagEndHeaders = 0x4
)

// frame is the beginning of one.
type frame struct {
	length      int
	kind, flags byte
	stream      uint32
}

// frames finds frames in what goes over a connection in one direction.
type frames struct {
	head [9]byte
	have int // of head
	left int // of the payload
}

// next takes what belongs to the frame before off the front, and the head of the next, if all of that is there.
func (f *frames) next(b []byte) (frame, []byte, bool) {
	skipped := min(f.left, len(b))
	f.left -= skipped
	b = b[skipped:]
	n := copy(f.head[f.have:], b)
	f.have += n
	b = b[n:]
	if f.have < len(f.head) {
		return frame{}, nil, false
	}
	f.have = 0
	found := frame{
		length: int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2]),
		kind:   f.head[3], flags: f.head[4],
		stream: binary.BigEndian.Uint32(f.head[5:]) &^ (1 << 31),
	}
	f.left = found.length
	return found, b, true
}

// stream is a request under way.
type stream struct {
	id     uint32
	held   int64
	begun  int64
	fields int32
	// complete says that all of the request has come.
	complete bool
}

// http2 is a connection of HTTP/2.
type http2 struct {
	bounds Bounds
	// preface is how many bytes are to come before the first frame.
	preface  int
	in, out  frames
	streams  []stream
	lastID   uint32
	blocks   int  // bytes of the header that is coming
	inBlocks bool // a header is coming
	blocked  int64

	held int64
	// given is what requests held that were given up, and givenUp when that was last.
	given, givenUp int64
}

func newHTTP2(bounds Bounds) *http2 { return &http2{bounds: bounds, preface: len(preface)} }

func (m *http2) read(b []byte, at int64) bool {
	if m.given > 0 && at-m.givenUp > afterReset {
		m.held -= m.given
		m.given = 0
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
		if f.length > maxFrame || !m.came(f, rest, at) {
			return false
		}
	}
}

// came is told of a frame and what has come after its head, and says whether it is allowed for.
func (m *http2) came(f frame, b []byte, at int64) bool {
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
		if s := m.find(f.stream); s != nil { // What works on it may not have noticed.
			m.given, m.givenUp = m.given+s.held, at
			m.held += s.held
			m.remove(s)
		}
	}
	return true
}

// block counts what came of a header. What it holds once it is decoded depends on the number of fields: a byte is enough for one.
func (m *http2) block(f frame, b []byte, s *stream) bool {
	m.blocks += f.length + len(m.in.head)
	m.inBlocks = f.flags&flagEndHeaders == 0
	if s == nil {
		return m.blocks <= m.mostOfBlock()
	}
	most := m.bounds.Header/minField - int(s.fields)
	there := f.length
	if f.kind == frameHeaders && f.flags == f.flags&(flagEndStream|flagEndHeaders) && !m.inBlocks && len(b) >= f.length {
		there = fields(b[:f.length]) // The usual case: all of it is there.
	}
	there = max(min(there, most), 0)
	s.fields += int32(there) //nolint:gosec // It is below Header.
	m.hold(s, int64(2*f.length)+int64(there)*perField)
	return m.blocks <= m.mostOfBlock()
}

// mostOfBlock is how long a header may be as it is sent, with the heads of its frames. Servers refuse it by what it decodes to.
func (m *http2) mostOfBlock() int { return 2*m.bounds.Header + maxFrame }

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
		if f.kind == frameReset || (f.kind == frameHeaders || f.kind == frameData) && f.flags&flagEndStream != 0 {
			if s := m.find(f.stream); s != nil {
				m.remove(s)
				ended = true
			}
		}
	}
}

func (m *http2) idle() {}

func (m *http2) holds() int64 { return m.held }

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
