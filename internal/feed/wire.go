package feed

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// objectReader reads the fields of an object that the feed needs. It does not keep the slice that it is given.
type objectReader func(object []byte) (runtime.Object, error)

// wireWatch implements watch.Interface over a stream of watch events, one per line. It reads only the fields of an
// object that the feed needs. With many keys, reading whole objects, twice, as client-go does, would take most of a
// verifier's start.
type wireWatch struct {
	stream io.ReadCloser
	read   objectReader
	events chan watch.Event
	stop   chan struct{}
	once   sync.Once
}

func watchStream(stream io.ReadCloser, read objectReader) *wireWatch {
	w := &wireWatch{stream: stream, read: read, events: make(chan watch.Event), stop: make(chan struct{})}
	go w.receive()
	return w
}

// ResultChan implements watch.Interface.
func (w *wireWatch) ResultChan() <-chan watch.Event { return w.events }

// Stop implements watch.Interface.
func (w *wireWatch) Stop() {
	w.once.Do(func() {
		close(w.stop)
		_ = w.stream.Close()
	})
}

func (w *wireWatch) receive() {
	defer close(w.events)
	defer w.Stop()
	reader := bufio.NewReaderSize(w.stream, 64<<10)
	var long []byte
	for {
		line, err := reader.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, line...)
			continue
		}
		if len(long) > 0 {
			long = append(long, line...)
			line, long = long, long[:0]
		}
		if err != nil {
			return // The reflector continues a watch that has ended. An incomplete last line is not an event.
		}
		event, err := readEvent(line, w.read)
		if err != nil {
			status := apierrors.NewInternalError(fmt.Errorf("reading a watch event: %w", err)).ErrStatus
			event = watch.Event{Type: watch.Error, Object: &status}
		}
		select {
		case w.events <- event:
		case <-w.stop:
			return
		}
	}
}

// readEvent reads a watch event. It does not keep the line.
func readEvent(line []byte, read objectReader) (watch.Event, error) {
	var event watch.Event
	var object []byte
	err := eachField(line, func(name string, value []byte) error {
		switch name {
		case "type":
			return readString(value, (*string)(&event.Type))
		case "object":
			object = value
		}
		return nil
	})
	if err != nil {
		return event, err
	}
	switch event.Type {
	case watch.Added, watch.Modified, watch.Deleted, watch.Bookmark:
		read, err := read(object)
		if err != nil {
			return event, err
		}
		event.Object = read
		return event, nil
	case watch.Error:
		status := &metav1.Status{}
		event.Object = status
		return event, json.Unmarshal(object, status)
	}
	return event, fmt.Errorf("there are no events of type %q", event.Type)
}
