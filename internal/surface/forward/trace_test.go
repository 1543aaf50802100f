package forward_test

import (
	"slices"
	"testing"
)

// TestTraceparent checks that the trace of the proxy's request is passed on.
func TestTraceparent(t *testing.T) {
	const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for name, d := range dialects {
		call := d.call()
		call.Header.Set("traceparent", traceparent)
		if got := d.asked(t, call).Traceparent; !slices.Equal(got, []string{traceparent}) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
