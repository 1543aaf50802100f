package usage

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// reportFutureUse writes a time in the future to the status of a key, as a verifier with a wrong clock does.
func (s *server) reportFutureUse(name, id string, by time.Duration) {
	changed := s.keys["warehouse/"+name].DeepCopy()
	future := metav1.NewTime(noon.Add(by))
	changed.Status.Usage = []keysv1alpha1.CredentialUsage{{ID: id, LastUsedTime: future}}
	changed.Status.LastUsedTime = &future
	s.put(changed)
}

// TestTimesInTheFutureAreReplaced checks that the next use replaces a time in the future, whether the credential was
// used before or after that time was written.
func TestTimesInTheFutureAreReplaced(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	s.put(newKey("a", "first000"))
	s.put(newKey("b", "first000"))
	r.use("a", "first000")
	for _, name := range []string{"a", "b"} {
		s.reportFutureUse(name, "first000", 24*time.Hour)
	}
	r.use("b", "first000")
	r.writeAll()
	s.wantWrites("a", 0)
	s.wantWrites("b", 0)

	r.now = noon.Add(time.Minute)
	r.use("a", "first000")
	s.reportFutureUse("a", "first000", time.Hour)
	r.writeAll()
	s.wantWrites("a", 0, 60)
	if used := s.keys["warehouse/a"].Status.Usage[0].LastUsedTime; !used.Time.Equal(r.now) {
		t.Errorf("used at %s", used)
	}
}

// TestTheClockIsCorrected checks that a replica whose clock was ahead replaces its own times once the clock is right.
func TestTheClockIsCorrected(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	s.put(newKey("a", "first000"))
	r.now = noon.Add(time.Hour)
	r.use("a", "first000")
	r.writeAll()
	r.use("a", "first000")
	r.now = noon
	s.put(s.keys["warehouse/a"].DeepCopy()) // Any change of the object, such as one of the controller's.
	r.use("a", "first000")
	r.writeAll()
	s.wantWrites("a", 3600, 0)
	r.now = noon.Add(10 * time.Second)
	r.use("a", "first000")
	r.writeAll()
	s.wantWrites("a", 3600, 0, 10)
}

// TestATimeInTheFutureIsNotWritten checks that a use noted while the clock was ahead is written with the corrected
// time, though nothing about the key has changed meanwhile.
func TestATimeInTheFutureIsNotWritten(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	s.put(newKey("a", "first000"))
	r.now = noon.Add(time.Hour)
	r.use("a", "first000")
	r.now = noon
	r.writeAll()
	s.wantWrites("a", 0)
}

// TestSmallClockSkewIsTolerated checks that a time in the future is trusted if it is ahead by no more than the
// resolution.
func TestSmallClockSkewIsTolerated(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	s.put(newKey("a", "first000"))
	s.reportFutureUse("a", "first000", Resolution)
	r.use("a", "first000")
	r.writeAll()
	s.wantWrites("a")
}
