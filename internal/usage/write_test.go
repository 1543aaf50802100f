package usage

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDeletedKeysAreNotWritten(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	for _, name := range []string{"deleting", "deleted", "missing", "replaced", "stripped"} {
		s.put(newKey(name, "first000"))
		r.use(name, "first000")
	}
	deleting := s.keys["warehouse/deleting"].DeepCopy()
	deleting.DeletionTimestamp = &metav1.Time{Time: noon}
	s.put(deleting)
	r.Forget("warehouse/deleted")
	r.Retain(map[string]struct{}{"warehouse/deleting": {}, "warehouse/replaced": {}, "warehouse/stripped": {}})
	replaced := newKey("replaced", "first000")
	replaced.UID = "another"
	s.put(replaced)
	s.put(newKey("stripped"))
	r.writeAll()
	if s.attempts != 0 {
		t.Errorf("%d writes: %v", s.attempts, s.writes)
	}
	if len(r.objects) != 1 || r.idle.size != 1 || r.queue.len() != 0 {
		t.Errorf("%d objects, %d idle and %d in the queue are left", len(r.objects), r.idle.size, r.queue.len())
	}
}

var invalid = &apierrors.StatusError{ErrStatus: metav1.Status{Code: http.StatusUnprocessableEntity}}

// failures are the ways in which an API server may fail a write.
var failures = map[string]struct {
	err    error
	result string
	// others reports whether other keys are written meanwhile. wait is how long this key is not tried again.
	others bool
	wait   time.Duration
}{
	"conflict":           {apierrors.NewConflict(resource, "bad", nil), "conflict", true, time.Second},
	"invalid":            {invalid, "refused", true, time.Second},
	"unavailable":        {apierrors.NewServiceUnavailable("away"), "failed", false, time.Second},
	"no permission":      {apierrors.NewForbidden(resource, "bad", nil), "failed", false, time.Second},
	"connection refused": {fmt.Errorf("connection refused"), "failed", false, time.Second},
	"asked to wait":      {apierrors.NewTooManyRequests("later", 7), "failed", false, 7 * time.Second},
}

// TestFailures checks that failed writes are retried with growing delays, and that the failure of one key doesn't delay
// others.
func TestFailures(t *testing.T) {
	for name, c := range failures {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			r := s.replica("one")
			s.put(newKey("bad", "first000"))
			r.use("bad", "first000")
			s.fail = func(name string) error {
				if name == "warehouse/bad" {
					return c.err
				}
				return nil
			}
			if !r.writeOne() || r.writeOne() {
				t.Fatal("want one attempt")
			}
			if got := r.series(t)["apikey_verifier_usage_writes_total result="+c.result]; got != 1 {
				t.Errorf("counted %v as %s", got, c.result)
			}
			s.put(newKey("good", "first000"))
			r.use("good", "first000")
			if got := r.writeOne(); got != c.others {
				t.Errorf("another key was written: %t", got)
			}
			r.now = noon.Add(c.wait - 1)
			before := s.attempts
			r.writeAll()
			if s.attempts != before {
				t.Errorf("tried again too soon")
			}
			r.now = noon.Add(c.wait)
			r.writeAll()
			r.now = noon.Add(c.wait + 2*minBackoff)
			r.writeAll()
			if len(s.writes["warehouse/good"]) != 1 {
				t.Errorf("a key that can be written was not, behind one that can't")
			}
			s.fail = nil
			r.now = r.now.Add(maxBackoff)
			r.writeAll()
			s.wantWrites("bad", 0)
		})
	}
}

// TestKeyDeletedBeforeTheWrite checks that the recorder tries only once to write a key that no longer exists.
func TestKeyDeletedBeforeTheWrite(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	s.put(newKey("a", "first000"))
	r.use("a", "first000")
	delete(s.keys, "warehouse/a")
	r.writeAll()
	r.now = noon.Add(time.Hour)
	r.use("a", "first000")
	r.writeAll()
	if s.attempts != 1 {
		t.Errorf("%d attempts", s.attempts)
	}
}

// TestAPIServerAwayForAnHour checks that the recorder seldom calls an API server that is away, and writes everything
// once it is back.
func TestAPIServerAwayForAnHour(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	for n := range 100 {
		s.put(newKey(fmt.Sprint("key-", n), "first000"))
	}
	s.fail = func(string) error { return apierrors.NewServiceUnavailable("away") }
	for second := range 3600 {
		r.now = noon.Add(time.Duration(second) * time.Second)
		for n := range 100 {
			r.use(fmt.Sprint("key-", n), "first000")
		}
		r.writeAll()
	}
	if s.attempts > 80 {
		t.Errorf("%d attempts while the API server was away for an hour", s.attempts)
	}
	if got := r.series(t)["apikey_verifier_usage_pending"]; got != 100 {
		t.Errorf("%v pending", got)
	}
	if got := r.series(t)["apikey_verifier_usage_oldest_pending_seconds"]; got < 3590 {
		t.Errorf("the oldest has waited for %v s", got)
	}
	s.fail = nil
	r.now = noon.Add(2 * time.Hour)
	r.writeAll()
	if len(s.writes) != 100 {
		t.Errorf("%d of 100 keys were written afterwards", len(s.writes))
	}
}

// TestFlush checks that Flush writes everything without waiting for other replicas, and that it does not wait for an
// API server that is away.
func TestFlush(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	r.options.Budget = 1e6
	r.observeAlive("one", "two", "three")
	for n := range 50 {
		s.put(newKey(fmt.Sprint("key-", n), "first000"))
		r.use(fmt.Sprint("key-", n), "first000")
	}
	r.options.Clock = time.Now
	r.Flush(t.Context())
	if len(s.writes) != 50 {
		t.Errorf("%d of 50 keys were written", len(s.writes))
	}
	r.Flush(t.Context()) // There is nothing to do.

	s.fail = func(string) error { return fmt.Errorf("connection refused") }
	s.put(newKey("another", "first000"))
	r.use("another", "first000")
	r.Flush(t.Context())
}

// series returns the values of the replica's metrics, by name and label.
func (r *replica) series(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetName() + "=" + label.GetValue()
			}
			values[name] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue() // Only one of them is set.
		}
	}
	return values
}
