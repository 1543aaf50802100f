package forward_test

import (
	"slices"
	"testing"
)

// TestTraceparent checks that the trace of the proxy's request is passed on.
func TestTraceparent(t *testing.T) {
	const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for name, dialect := range dialects {
		call := dialect.call()
		call.Header.Set("traceparent", traceparent)
		if got := dialect.asked(t, call).Traceparent; !slices.Equal(got, []string{traceparent}) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
