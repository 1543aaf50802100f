package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// listInto reads a whole resource consistently into a store, which proves that everything committed before the list
// began has been applied. It calls progress whenever data arrives.
func listInto(
	ctx context.Context, f *Feed, k resourceKind, s proofStream, store cache.ReflectorStore, progress func(),
) error {
	started := f.options.Clock()
	body, err := f.bulk.Get().Resource(k.resource).Stream(ctx)
	if err != nil {
		return fmt.Errorf("listing %s: %w", k.resource, err)
	}
	defer func() { _ = body.Close() }()
	var items []any
	meta, err := readList(&progressReader{body, progress}, func(item []byte) error {
		object, err := k.read(item)
		items = append(items, object)
		return err
	})
	if err != nil {
		return fmt.Errorf("listing %s: %w", k.resource, err)
	}
	if err := store.Replace(items, meta.ResourceVersion); err != nil {
		return err
	}
	f.freshness.prove(s, started)
	return nil
}

// progressReader is a reader that calls progress whenever it has read something.
type progressReader struct {
	io.Reader
	progress func()
}

// Read implements io.Reader.
func (r *progressReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.progress()
	}
	return n, err
}

// readList calls each with every item of a list, as the API server writes it, and returns the list's metadata. It never
// holds more than one item in memory: with very many keys, the tenants' ledgers are many megabytes.
func readList(from io.Reader, each func(item []byte) error) (meta metav1.ListMeta, err error) {
	s := &scanner{from: from}
	if err := s.delimiter('{'); err != nil {
		return meta, err
	}
	for more := true; more; {
		name, err := s.value()
		if err != nil {
			return meta, err
		}
		field := string(name)
		if err := s.delimiter(':'); err != nil {
			return meta, err
		}
		first, err := s.peek()
		switch {
		case err != nil:
		case field == `"items"` && first == '[':
			err = s.elements(each)
		default:
			var value []byte
			if value, err = s.value(); err == nil && field == `"metadata"` {
				err = json.Unmarshal(value, &meta)
			}
		}
		if err != nil {
			return meta, err
		}
		if more, err = s.more('}'); err != nil {
			return meta, err
		}
	}
	return meta, nil
}

// scanner reads JSON from a stream, value by value.
type scanner struct {
	from io.Reader
	// buffer holds what has been read. Everything before at has been consumed.
	buffer []byte
	at     int
	ended  error
}

// firstBuffer is the initial size of the buffer. It grows if a value needs more.
const firstBuffer = 64 << 10

// fill reads more into the buffer. At the end of the stream it returns an error, because it is called only while a
// value is incomplete.
func (s *scanner) fill() error {
	if s.ended != nil {
		return s.ended
	}
	s.buffer = s.buffer[:copy(s.buffer, s.buffer[s.at:])]
	s.at = 0
	if free := cap(s.buffer) - len(s.buffer); free < firstBuffer/2 {
		grown := make([]byte, len(s.buffer), max(firstBuffer, 2*cap(s.buffer)))
		copy(grown, s.buffer)
		s.buffer = grown
	}
	n, err := io.ReadFull(s.from, s.buffer[len(s.buffer):cap(s.buffer)])
	s.buffer = s.buffer[:len(s.buffer)+n]
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	s.ended = err
	if n > 0 {
		return nil
	}
	return err
}

// peek returns the next character that is not white space.
func (s *scanner) peek() (byte, error) {
	for {
		rest := skipBlanks(s.buffer[s.at:])
		s.at = len(s.buffer) - len(rest)
		if len(rest) > 0 {
			return rest[0], nil
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
}

// delimiter consumes a character that must come next.
func (s *scanner) delimiter(c byte) error {
	switch is, err := s.peek(); {
	case err != nil:
		return err
	case is != c:
		return errJSON
	}
	s.at++
	return nil
}

// more consumes what follows a member: a comma, or the given closing character. It reports whether there is another
// member.
func (s *scanner) more(closes byte) (bool, error) {
	is, err := s.peek()
	if err != nil {
		return false, err
	}
	s.at++
	if is != ',' && is != closes {
		return false, errJSON
	}
	return is == ',', nil
}

// value returns the next value. It is valid until the next call.
func (s *scanner) value() ([]byte, error) {
	if _, err := s.peek(); err != nil {
		return nil, err
	}
	for {
		value, rest, err := nextValue(s.buffer[s.at:])
		if err == nil {
			s.at = len(s.buffer) - len(rest)
			return value, nil
		}
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
}

// elements calls each with every element of an array.
func (s *scanner) elements(each func(element []byte) error) error {
	if err := s.delimiter('['); err != nil {
		return err
	}
	if first, err := s.peek(); err != nil || first == ']' {
		s.at++
		return err
	}
	for more := true; more; {
		element, err := s.value()
		if err != nil {
			return err
		}
		if err := each(element); err != nil {
			return err
		}
		if more, err = s.more(']'); err != nil {
			return err
		}
	}
	return nil
}
