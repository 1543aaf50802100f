package usage

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// ahead has status say that a credential was used at a time that has not come.
func (s *server) ahead(name, id string, by time.Duration) {
	changed := s.keys["warehouse/"+name].DeepCopy()
	future := metav1.NewTime(noon.Add(by))
	changed.Status.Usage = []keysv1alpha1.CredentialUsage{{ID: id, LastUsedTime: future}}
	changed.Status.LastUsedTime = &future
	s.put(changed)
}

// TestATimeThatHasNotComeIsReplaced checks that what a verifier with another clock has written is replaced with the next use, before that or
// after it.
func TestATimeThatHasNotComeIsReplaced(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	s.put(key("a", "first000"))
	s.put(key("b", "first000"))
	r.use("a", "first000")
	for _, name := range []string{"a", "b"} {
		s.ahead(name, "first000", 24*time.Hour)
	}
	r.use("b", "first000")
	r.writeAll()
	s.wantWrites("a", 0)
	s.wantWrites("b", 0)

	r.now = noon.Add(time.Minute)
	r.use("a", "first000")
	s.ahead("a", "first000", time.Hour)
	r.writeAll()
	s.wantWrites("a", 0, 60)
	if used := s.keys["warehouse/a"].Status.Usage[0].LastUsedTime; !used.Time.Equal(r.now) {
		t.Errorf("used at %s", used)
	}
}

// TestAClockThatIsPutRight checks that a replica writes true times again once its clock does, and takes back what it wrote before.
func TestAClockThatIsPutRight(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	s.put(key("a", "first000"))
	r.now = noon.Add(time.Hour)
	r.use("a", "first000")
	r.writeAll()
	r.use("a", "first000")
	r.now = noon
	s.put(s.keys["warehouse/a"].DeepCopy()) // Some change of it, such as the controller's.
	r.use("a", "first000")
	r.writeAll()
	s.wantWrites("a", 3600, 0)
	r.now = noon.Add(10 * time.Second)
	r.use("a", "first000")
	r.writeAll()
	s.wantWrites("a", 3600, 0, 10)
}

// TestClocksThatDifferByLittle checks that a time which is as far ahead as the resolution is another replica's word.
func TestClocksThatDifferByLittle(t *testing.T) {
	s := newServer(t)
	r := s.replica("one")
	s.put(key("a", "first000"))
	s.ahead("a", "first000", Resolution)
	r.use("a", "first000")
	r.writeAll()
	s.wantWrites("a")
}
