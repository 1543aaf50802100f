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

// Event is a Kubernetes event about a key.
type Event struct {
	Reason, Message string
	// Warning is set if it may need a person's attention.
	Warning bool
	// Time is when it last occurred.
	Time time.Time
	// Count is how often it occurred.
	Count int32
}

// Events returns the events about a key that the cluster still has, the latest first.
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

// eventOf converts an event. Which fields have its time and its count depends on the API that it was written by.
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
