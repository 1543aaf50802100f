package feed

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// keyWatch implements watch.Interface over a stream of ApiKeys' watch events, an event a line. Of each key it reads only what
// counts here: where keys are many, reading all of it, twice, as client-go does, would be most of a verifier's start.
type keyWatch struct {
	stream io.ReadCloser
	events chan watch.Event
	stop   chan struct{}
	once   sync.Once
}

func watchKeys(stream io.ReadCloser) *keyWatch {
	w := &keyWatch{stream: stream, events: make(chan watch.Event), stop: make(chan struct{})}
	go w.receive()
	return w
}

// ResultChan implements watch.Interface.
func (w *keyWatch) ResultChan() <-chan watch.Event { return w.events }

// Stop implements watch.Interface.
func (w *keyWatch) Stop() {
	w.once.Do(func() {
		close(w.stop)
		_ = w.stream.Close()
	})
}

func (w *keyWatch) receive() {
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
			return // A watch that ends is taken up again. What there is of the last line is not an event.
		}
		event, err := readEvent(line)
		if err != nil {
			event = watch.Event{Type: watch.Error, Object: &apierrors.NewInternalError(fmt.Errorf("reading a watch event: %w", err)).ErrStatus}
		}
		select {
		case w.events <- event:
		case <-w.stop:
			return
		}
	}
}

// readEvent reads a watch event. It keeps nothing of the line.
func readEvent(line []byte) (watch.Event, error) {
	var event watch.Event
	var object []byte
	err := eachField(line, func(name string, value []byte) error {
		switch name {
		case "type":
			return text(value, (*string)(&event.Type))
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
		key, err := readKey(object)
		if err != nil {
			return event, err
		}
		event.Object = key
		return event, nil
	case watch.Error:
		status := &metav1.Status{}
		event.Object = status
		return event, json.Unmarshal(object, status)
	}
	return event, fmt.Errorf("there are no events of type %q", event.Type)
}

// readKey reads what the index, the canary, the acknowledgements and the notes of uses need of an ApiKey, and passes over the
// rest: above all managedFields, conditions' messages, and what spec says of the Secret.
func readKey(object []byte) (*keysv1alpha1.ApiKey, error) {
	key := &keysv1alpha1.ApiKey{}
	return key, eachField(object, func(name string, value []byte) error {
		switch name {
		case "metadata":
			return eachField(value, func(name string, value []byte) error { return readMeta(&key.ObjectMeta, name, value) })
		case "spec":
			return eachField(value, func(name string, value []byte) error { return readSpec(&key.Spec, name, value) })
		case "status":
			return eachField(value, func(name string, value []byte) error { return readStatus(&key.Status, name, value) })
		}
		return nil
	})
}

func readMeta(meta *metav1.ObjectMeta, name string, value []byte) error {
	switch name {
	case "namespace":
		return text(value, &meta.Namespace)
	case "name":
		return text(value, &meta.Name)
	case "resourceVersion":
		return text(value, &meta.ResourceVersion)
	case "uid":
		return text(value, (*string)(&meta.UID))
	case "creationTimestamp":
		return json.Unmarshal(value, &meta.CreationTimestamp)
	case "deletionTimestamp":
		return json.Unmarshal(value, &meta.DeletionTimestamp)
	case "labels":
		return json.Unmarshal(value, &meta.Labels)
	case "annotations":
		return json.Unmarshal(value, &meta.Annotations)
	}
	return nil
}

func readSpec(spec *keysv1alpha1.ApiKeySpec, name string, value []byte) error {
	switch name {
	case "state":
		return text(value, (*string)(&spec.State))
	case "expiry":
		return text(value, (*string)(&spec.Expiry))
	case "scopes":
		return json.Unmarshal(value, &spec.Scopes)
	case "allowedCIDRs":
		return json.Unmarshal(value, &spec.AllowedCIDRs)
	}
	return nil
}

func readStatus(status *keysv1alpha1.ApiKeyStatus, name string, value []byte) error {
	switch name {
	case "tenantID":
		return text(value, &status.TenantID)
	case "scopes":
		return json.Unmarshal(value, &status.Scopes)
	case "allowedCIDRs":
		return json.Unmarshal(value, &status.AllowedCIDRs)
	case "issuedTime":
		return json.Unmarshal(value, &status.IssuedTime)
	case "expiresTime":
		return json.Unmarshal(value, &status.ExpiresTime)
	case "lastUsedTime":
		return json.Unmarshal(value, &status.LastUsedTime)
	case "usage":
		return json.Unmarshal(value, &status.Usage)
	case "credentials":
		return json.Unmarshal(value, &status.Credentials)
	case "conditions":
		return eachElement(value, func(element []byte) error {
			var condition metav1.Condition
			err := eachField(element, func(name string, value []byte) error {
				switch name {
				case "type":
					return text(value, &condition.Type)
				case "status":
					return text(value, (*string)(&condition.Status))
				case "reason":
					return text(value, &condition.Reason)
				}
				return nil
			})
			status.Conditions = append(status.Conditions, condition)
			return err
		})
	}
	return nil
}

// text reads a string.
func text(value []byte, into *string) error {
	if len(value) >= 2 && value[0] == '"' && bytes.IndexByte(value, '\\') < 0 {
		*into = string(value[1 : len(value)-1])
		return nil
	}
	return json.Unmarshal(value, into)
}

var errJSON = errors.New("not JSON as the API server writes it")

// eachField calls a function with the name and the value of each field of an object, which may be null. What the function
// passes over is not looked into.
func eachField(b []byte, each func(name string, value []byte) error) error {
	b = blank(b)
	if string(bytes.TrimRight(b, " \t\r\n")) == "null" {
		return nil
	}
	return eachMember(b, '{', '}', func(b []byte) (rest []byte, err error) {
		name, rest, err := next(b)
		if err != nil || len(name) < 2 || name[0] != '"' {
			return nil, errJSON
		}
		if rest = blank(rest); len(rest) == 0 || rest[0] != ':' {
			return nil, errJSON
		}
		value, rest, err := next(blank(rest[1:]))
		if err != nil {
			return nil, err
		}
		return rest, each(string(name[1:len(name)-1]), value)
	})
}

// eachElement calls a function with each element of an array, which may be null.
func eachElement(b []byte, each func(element []byte) error) error {
	b = blank(b)
	if string(bytes.TrimRight(b, " \t\r\n")) == "null" {
		return nil
	}
	return eachMember(b, '[', ']', func(b []byte) (rest []byte, err error) {
		element, rest, err := next(b)
		if err != nil {
			return nil, err
		}
		return rest, each(element)
	})
}

// eachMember calls a function at each member of what opens and closes with the given characters.
func eachMember(b []byte, opens, closes byte, member func(b []byte) (rest []byte, err error)) error {
	if len(b) == 0 || b[0] != opens {
		return errJSON
	}
	b = blank(b[1:])
	if len(b) > 0 && b[0] == closes {
		return nil
	}
	for {
		var err error
		if b, err = member(b); err != nil {
			return err
		}
		b = blank(b)
		switch {
		case len(b) == 0:
			return errJSON
		case b[0] == closes:
			return nil
		case b[0] != ',':
			return errJSON
		}
		b = blank(b[1:])
	}
}

// next returns the value that b begins with, and what follows it.
func next(b []byte) (value, rest []byte, err error) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			end := closing(b, i)
			if end < 0 {
				return nil, nil, errJSON
			}
			if i = end; depth == 0 {
				return b[:i+1], b[i+1:], nil
			}
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			switch {
			case depth == 0:
				return b[:i+1], b[i+1:], nil
			case depth < 0:
				return scalar(b, i)
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return scalar(b, i)
			}
		}
	}
	return nil, nil, errJSON
}

func scalar(b []byte, end int) (value, rest []byte, err error) {
	if end == 0 {
		return nil, nil, errJSON
	}
	return b[:end], b[end:], nil
}

// closing returns where a string ends that begins at i, or -1.
func closing(b []byte, i int) int {
	for i++; ; i++ {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
	}
}

func blank(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}
