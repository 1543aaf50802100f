package keys

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// Event is something that was said of a key.
type Event struct {
	Reason, Message string
	// Warning says that it may need a person.
	Warning bool
	// Time is when it was said last.
	Time time.Time
	// Count is how often it was said.
	Count int32
}

// Events returns what was said of a key and is still kept, the latest first.
func (c *Client) Events(ctx context.Context, key *keysv1alpha1.ApiKey) ([]Event, error) {
	var list corev1.EventList
	err := c.api.List(ctx, &list, &client.ListOptions{
		Namespace: key.Namespace, FieldSelector: fields.OneTermEqualSelector("involvedObject.uid", string(key.UID)),
	})
	events := make([]Event, len(list.Items))
	for i := range list.Items {
		events[i] = eventOf(&list.Items[i])
	}
	slices.SortStableFunc(events, func(a, b Event) int { return b.Time.Compare(a.Time) })
	return events, err
}

// eventOf reads an event, which has its time and count in one place or another by who has written it.
func eventOf(e *corev1.Event) Event {
	event := Event{
		Reason: e.Reason, Message: e.Message, Warning: e.Type == corev1.EventTypeWarning,
		Time: e.CreationTimestamp.Time, Count: max(1, e.Count),
	}
	for _, t := range []time.Time{e.EventTime.Time, e.LastTimestamp.Time} {
		if t.After(event.Time) {
			event.Time = t
		}
	}
	if e.Series != nil {
		event.Count = max(event.Count, e.Series.Count)
		if e.Series.LastObservedTime.After(event.Time) {
			event.Time = e.Series.LastObservedTime.Time
		}
	}
	return event
}
