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
	// perAnswer is what the answer to a frame holds that belongs to no request, until the client takes it.
	perAnswer = 256
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

// frame is the beginning of one.
type frame struct {
	length      int
	kind, flags byte
	stream      uint32
	// word is the beginning of the payload, where the kind has a number there that matters: of what a stream depends on, or by how much a
	// window grows.
	word uint32
}

const (
	headLength = 9
	wordLength = 4
)

// frames finds frames in what goes over a connection in one direction.
type frames struct {
	head [headLength + wordLength]byte
	have int // of head
	left int // of the payload
}

// next takes what belongs to the frame before off the front, and the head of the next, if all of that is there.
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
			f.left = 0 // Until all of the head is there.
			return frame{}, nil, false
		}
		found.word = binary.BigEndian.Uint32(f.head[headLength:]) &^ (1 << 31)
		f.left -= wordLength
	}
	f.have = 0
	return found, b, true
}

// fill takes so many bytes of the head off the front, as far as they are there.
func (f *frames) fill(b []byte, length int) []byte {
	n := copy(f.head[min(f.have, length):length], b)
	f.have += n
	return b[n:]
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
	// stray is what a header holds that comes for no request under way, and owed how many answers have not been sent that belong to none.
	stray, owed int64
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
	if m.answered(f) {
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
		if s := m.find(f.stream); s != nil { // What works on it may not have noticed.
			m.given, m.givenUp = m.given+s.held, at
			m.held += s.held
			m.remove(s)
		}
	}
	return true
}

// answered reports whether a server answers a frame by one that belongs to no request under way: by an acknowledgement, or by having a
// stream reset that is not there, or whose frame is at fault.
func (m *http2) answered(f frame) bool {
	switch f.kind {
	case framePing, frameSettings:
		return f.flags&flagAck == 0
	case frameData, frameHeaders:
		return f.stream <= m.lastID && m.find(f.stream) == nil
	case framePriority: // A stream that depends on itself.
		return f.word == f.stream
	case frameWindowUpdate: // A window that grows by nothing.
		return f.word == 0
	}
	return false
}

// block counts what came of a header. What it holds once it is decoded depends on the number of fields: a byte is enough for one.
func (m *http2) block(f frame, b []byte, s *stream) bool {
	m.blocks += f.length + headLength
	m.inBlocks = f.flags&flagEndHeaders == 0
	if s == nil { // The server decodes it all the same, before it sees whose it is.
		m.stray = 0
		if m.inBlocks {
			m.stray = int64(min(m.blocks, m.bounds.Header/minField))*perField + int64(2*m.blocks)
		}
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
		m.pay(f)
		if f.kind == frameReset || (f.kind == frameHeaders || f.kind == frameData) && f.flags&flagEndStream != 0 {
			if s := m.find(f.stream); s != nil {
				m.remove(s)
				ended = true
			}
		}
	}
}

// pay is told of a frame that is sent, which may be an answer that was owed. Servers send those before a request's, so few are owed when
// one of these is sent: what was taken to be owed and never came is forgotten that way.
func (m *http2) pay(f frame) {
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

func (m *http2) holds() int64 { return m.held + m.stray + m.owed*perAnswer }

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
