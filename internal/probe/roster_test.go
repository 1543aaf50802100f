package probe

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// verifierBound is the bound of the verifiers of these tests.
const verifierBound = 5 * time.Minute

// scene is a roster of a controller that has been running for a while, with a canary that is sealed.
type scene struct {
	*Roster

	now    time.Time
	uid    string
	sealed bool
	canary map[string]Record
}

func newScene(verifiers ...string) *scene {
	s := &scene{Roster: NewRoster(), now: time.Unix(1_800_000_000, 0), uid: "first", canary: map[string]Record{}}
	s.Load(nil, s.now)
	s.observe()
	s.sealed = true
	for _, name := range verifiers {
		s.report(name, "1")
	}
	return s
}

func (s *scene) observe() { s.Observe(s.uid, s.sealed, s.canary, s.now) }

// report has a verifier write on the canary how far it is.
func (s *scene) report(name, applied string, change ...func(*Record)) {
	record := Record{Nonce: fmt.Sprint(applied, s.now), Applied: applied, Instance: name + "'s", MaxStaleness: metav1.Duration{Duration: verifierBound}}
	for _, c := range change {
		c(&record)
	}
	s.canary[name] = record
	s.observe()
}

func (s *scene) wait(d time.Duration) { s.now = s.now.Add(d) }

// replaceCanary clears the canary, seal and all.
func (s *scene) replaceCanary() {
	clear(s.canary)
	s.sealed = false
	s.observe()
}

// restart is the scene of the controller that follows.
func (s *scene) restart() {
	document := s.Document(s.now)
	s.Roster = NewRoster()
	s.Load(&document, s.now)
	s.observe()
}

// behind says who is behind change 10, and whether somebody unknown may be.
func (s *scene) behind() string {
	p := s.Progress("10", s.now)
	text := strings.Join(p.Behind, " ")
	if p.Unknown != 0 {
		text += fmt.Sprintf(" ?%s", p.Unknown)
	}
	return text
}

func (s *scene) expect(t *testing.T, want string) {
	t.Helper()
	if got := s.behind(); got != want {
		t.Errorf("behind is %q, want %q", got, want)
	}
}

func instance(name string) func(*Record)    { return func(r *Record) { r.Instance = name } }
func inPod(uid string) func(*Record)        { return func(r *Record) { r.Pod = uid } }
func contested(by string) func(*Record)     { return func(r *Record) { r.Contested = by } }
func bound(d time.Duration) func(*Record)   { return func(r *Record) { r.MaxStaleness.Duration = d } }
func signedOff(r *Record)                   { r.SignedOff = true }
func (s *scene) knows(name, id string) bool { return s.members[Verifier{name, id}] != nil }

// TestWhoIsWaitedFor goes through what can happen to what verifiers say. Each ends with who is behind, at once and once the bound has
// passed.
func TestWhoIsWaitedFor(t *testing.T) {
	for name, test := range map[string]struct {
		happens     func(*scene)
		want, later string
	}{
		"nothing":                 {func(*scene) {}, "a b", ""},
		"both apply it":           {func(s *scene) { s.report("a", "10"); s.report("b", "11") }, "", ""},
		"one applies it":          {func(s *scene) { s.report("a", "10") }, "b", ""},
		"one signs off":           {func(s *scene) { s.report("b", "9", signedOff) }, "a", ""},
		"one is taken off":        {func(s *scene) { delete(s.canary, "b"); s.observe() }, "a b", ""},
		"one is vouched for":      {func(s *scene) { s.canary["b"] = Record{SignedOff: true}; s.observe() }, "a", ""},
		"the canary is replaced":  {func(s *scene) { s.replaceCanary() }, "a b ?5m0s", ""},
		"it is another object":    {func(s *scene) { s.uid = "second"; s.replaceCanary() }, "a b ?5m0s", ""},
		"it is restored":          {func(s *scene) { s.uid = "second"; s.observe() }, "a b ?5m0s", ""},
		"replaced, and they live": {func(s *scene) { s.replaceCanary(); s.report("a", "10"); s.report("b", "10") }, " ?5m0s", ""},
		"replaced, and one has a longer bound": {func(s *scene) {
			s.report("b", "1", bound(time.Hour))
			s.replaceCanary()
		}, "a b ?1h0m0s", "b ?1h0m0s"},
		"a restart":                  {func(s *scene) { s.restart() }, "a b", ""},
		"replaced, and a restart":    {func(s *scene) { s.replaceCanary(); s.restart() }, "a b ?5m0s", ""},
		"taken off, and a restart":   {func(s *scene) { delete(s.canary, "b"); s.restart() }, "a b", ""},
		"signed off, and a restart":  {func(s *scene) { s.report("b", "9", signedOff); s.restart() }, "a", ""},
		"signed off after a restart": {func(s *scene) { s.restart(); s.report("b", "9", signedOff) }, "a", ""},
		"two of one name":            {func(s *scene) { s.report("b", "10", instance("another")) }, "a b", ""},
		"two of one name, a restart": {func(s *scene) { s.report("b", "10", instance("another")); s.restart() }, "a b", ""},
		"two of one name, taking turns": {func(s *scene) {
			s.report("b", "10", instance("another"))
			s.report("b", "10")
		}, "a", ""},
		"the other signs off": {func(s *scene) {
			s.report("b", "10", instance("another"))
			s.report("b", "10", instance("another"), signedOff)
		}, "a b", ""},
		"a crash in a pod": {func(s *scene) {
			s.report("b", "1", inPod("pod"))
			s.report("b", "10", inPod("pod"), instance("another"))
		}, "a", ""},
		"a crash in a pod, and a restart": {func(s *scene) {
			s.report("b", "1", inPod("pod"))
			s.restart()
			s.report("b", "10", inPod("pod"), instance("another"))
		}, "a", ""},
		"a crash, and another pod of the name": {func(s *scene) {
			s.report("b", "1", inPod("pod"))
			s.report("b", "10", inPod("another"), instance("another"))
		}, "a b", ""},
		"two in one pod": {func(s *scene) {
			s.report("b", "1", inPod("pod"))
			s.report("b", "10", inPod("pod"), instance("another"), contested("b's"))
			s.report("b", "1", inPod("pod"), contested("another"))
		}, "a b", ""},
		"a rival that is known":   {func(s *scene) { s.report("b", "10", instance("another"), contested("b's")) }, "a b", ""},
		"a rival that is unknown": {func(s *scene) { s.report("b", "10", contested("another")) }, "a ?5m0s", ""},
		"a rival that has signed off": {func(s *scene) {
			s.report("b", "1", instance("another"), signedOff)
			s.report("b", "10", contested("another"))
		}, "a", ""},
		"no bound":                     {func(s *scene) { s.report("b", "1", bound(0)) }, "a b", "b"},
		"too short a one":              {func(s *scene) { s.report("b", "1", bound(time.Second)) }, "a b", "b"},
		"a negative one":               {func(s *scene) { s.report("b", "1", bound(-time.Hour)) }, "a b", "b"},
		"too long a one":               {func(s *scene) { s.report("b", "1", bound(100*time.Hour)) }, "a b", "b"},
		"nothing that can be compared": {func(s *scene) { s.report("b", "ten") }, "a b", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene("a", "b")
			test.happens(s)
			s.expect(t, test.want)
			s.wait(verifierBound)
			s.expect(t, test.want)
			s.wait(time.Nanosecond)
			s.expect(t, test.later)
			s.wait(time.Hour)
			s.observe()
			s.expect(t, "")
		})
	}
}

// TestOneWhosePlaceIsTakenMayHaveSpokenLast checks the same of one in whose place another of its name speaks.
func TestOneWhosePlaceIsTakenMayHaveSpokenLast(t *testing.T) {
	s := newScene("a")
	s.wait(4 * time.Minute)
	s.report("a", "10", instance("another"))
	s.wait(4 * time.Minute)
	s.expect(t, "a")
	s.wait(time.Minute + time.Second)
	s.expect(t, "")
}

// TestOneThatIsTakenOffMayHaveSpokenLast checks that the bound of one that is missing counts from when that is seen: what it said
// last may have been taken off before anybody saw it.
func TestOneThatIsTakenOffMayHaveSpokenLast(t *testing.T) {
	s := newScene("a")
	s.wait(4 * time.Minute)
	delete(s.canary, "a")
	s.observe()
	s.wait(4 * time.Minute)
	s.observe()
	s.expect(t, "a")
	s.wait(time.Minute + time.Second)
	s.expect(t, "")
	if p := s.Progress("10", s.now); p.Closed != 1 {
		t.Errorf("%d refuse everything, want 1", p.Closed)
	}
	s.wait(time.Hour)
	s.observe()
	if p := s.Progress("10", s.now); p.Closed != 0 {
		t.Error("it is never forgotten")
	}
	s.report("a", "1") // It was frozen, and goes on.
	s.expect(t, "a")
}

// TestAFirstStartWaitsForNobody checks that what was never sealed is waited out only where a controller was before.
func TestAFirstStartWaitsForNobody(t *testing.T) {
	r, now := NewRoster(), time.Unix(1_800_000_000, 0)
	r.Load(nil, now)
	r.Observe("first", false, map[string]Record{"a": {Nonce: "1", Applied: "10"}}, now)
	if p := r.Progress("10", now); p.Unknown != 0 || p.Applied != 1 {
		t.Errorf("%+v", p)
	}
	if !r.SealDue(now) {
		t.Error("it isn't sealed")
	}

	document := r.Document(now)
	r = NewRoster()
	r.Observe("first", false, map[string]Record{}, now)
	if r.SealDue(now) {
		t.Error("it is sealed by who doesn't lead")
	}
	r.Load(&document, now)
	if p := r.Progress("10", now); p.Unknown != Longest || r.SealDue(now) {
		t.Errorf("%+v", p)
	}
	now = now.Add(Longest + time.Second)
	if p := r.Progress("10", now); p.Unknown != 0 || !r.SealDue(now) {
		t.Errorf("%+v", p)
	}
}

// TestOneThatIsNewEachTimeFillsNothing has a hostile verifier say that it is another each time.
func TestOneThatIsNewEachTimeFillsNothing(t *testing.T) {
	s := newScene("a")
	s.report("z", "1", bound(time.Hour))
	for i := range 3 * maxMembers {
		s.report("b", "10", instance(fmt.Sprint(i)))
	}
	if len(s.members) > maxMembers || len(s.departed) > maxMembers {
		t.Errorf("%d members, %d that have departed", len(s.members), len(s.departed))
	}
	if got := s.behind(); !strings.Contains(got, "?1h0m0s") {
		t.Errorf("behind is %q: whoever was forgotten for it may be one that answers", got)
	}
	text := fmt.Sprint(s.Document(s.now))
	if len(text) > 200<<10 {
		t.Errorf("the document has %d bytes", len(text))
	}
}

// TestWhatIsSaved checks that the document changes when a verifier comes, goes, or has another bound, and not when it speaks.
func TestWhatIsSaved(t *testing.T) {
	s := newScene()
	for _, step := range []struct {
		what string
		do   func()
		want bool
	}{
		{"a comes", func() { s.report("a", "1") }, true},
		{"a speaks", func() { s.wait(time.Second); s.report("a", "2") }, false},
		{"a has another bound", func() { s.report("a", "3", bound(time.Minute)) }, true},
		{"another of its name comes", func() { s.report("a", "3", instance("another"), bound(time.Minute)) }, true},
		{"the canary is replaced", s.replaceCanary, false},
		{"a signs off", func() { s.report("a", "3", signedOff) }, true},
		{"its bound passes", func() { s.wait(2*verifierBound + keepClosed); s.observe() }, true},
	} {
		s.MarkSaved()
		step.do()
		if s.Changed() != step.want {
			t.Errorf("%s: changed is %t", step.what, s.Changed())
		}
	}
	if got := s.Document(s.now); len(got.Verifiers) != 0 || got.Longest.Duration != time.Minute {
		t.Errorf("left is %+v", got)
	}
}

// TestASignOffThatNoControllerSawIsSaved has a verifier sign off between two controllers. Whether the canary or what the first has left
// comes to the second sooner, that is to be written anew: once the sign-off is taken off the canary, a third would wait for the verifier.
func TestASignOffThatNoControllerSawIsSaved(t *testing.T) {
	for name, load := range map[string]func(*scene, *Document){
		"the canary comes first":   func(s *scene, d *Document) { s.observe(); s.Load(d, s.now) },
		"the document comes first": func(s *scene, d *Document) { s.Load(d, s.now); s.observe() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene("a")
			document := s.Document(s.now)
			s.Roster, s.canary["a"] = NewRoster(), Record{Instance: "a's", SignedOff: true}
			load(s, &document)
			if !s.Changed() {
				t.Error("nothing is to be written")
			}
			if got := s.Document(s.now); len(got.Verifiers) != 0 {
				t.Errorf("left is %+v", got)
			}
		})
	}
}

// TestClosed checks what may be taken off the canary.
func TestClosed(t *testing.T) {
	s := newScene("a", "b")
	closed := func() (names []string) {
		for name, record := range s.canary {
			if s.Closed(name, record, s.now) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	if got := closed(); len(got) > 0 {
		t.Errorf("%v may be taken off", got)
	}
	s.report("b", "1", signedOff)
	s.wait(verifierBound + time.Second)
	stranger := Record{Nonce: "x", Instance: "unseen"}
	if got := closed(); !slices.Equal(got, []string{"a", "b"}) || s.Closed("a", stranger, s.now) {
		t.Errorf("%v may be taken off", got)
	}
	s.Prune("a", s.canary["a"], s.now)
	if s.knows("a", "a's") {
		t.Error("a is still waited for")
	}
}

func TestRecords(t *testing.T) {
	record := Record{Nonce: "n", Applied: "5", MaxStaleness: metav1.Duration{Duration: time.Minute}, Instance: "i", Pod: "p", Contested: "c"}
	canary := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
		Annotation("a"): record.String(), Annotation("broken"): "{", Annotation("vouched"): Gone,
		Annotation("left"): Record{SignedOff: true}.String(), "example.com/note": "x",
	}}}
	got := Records(canary)
	if len(got) != 4 || got["a"] != record || got["broken"].Bound() != Longest || got["broken"].HasApplied("1") ||
		!got["vouched"].SignedOff || !got["left"].SignedOff || got["a"].Bound() != time.Minute {
		t.Errorf("%+v", got)
	}
	if n := Count(canary); n != 2 {
		t.Errorf("%d are alive, want 2", n)
	}
}
