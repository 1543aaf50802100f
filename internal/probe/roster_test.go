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

// verifierBound is the bound of the verifiers in these tests.
const verifierBound = 5 * time.Minute

// scene is the roster of a controller that has been running for a while, and a sealed canary.
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

// report writes a record on the canary, as a verifier does.
func (s *scene) report(name, applied string, change ...func(*Record)) {
	record := Record{
		Nonce: fmt.Sprint(applied, s.now), Applied: applied, Instance: name + "'s",
		MaxStaleness: metav1.Duration{Duration: verifierBound},
	}
	for _, c := range change {
		c(&record)
	}
	s.canary[name] = record
	s.observe()
}

func (s *scene) wait(d time.Duration) { s.now = s.now.Add(d) }

// replaceCanary clears the canary, including its seal.
func (s *scene) replaceCanary() {
	clear(s.canary)
	s.sealed = false
	s.observe()
}

// restart replaces the roster by that of the next controller.
func (s *scene) restart() {
	document := s.Document(s.now)
	s.Roster = NewRoster()
	s.Load(&document, s.now)
	s.observe()
}

// behind returns who is behind with change 10, and whether the roster may lack a verifier.
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

// TestWhoIsWaitedFor goes through what can happen to records. Each case lists who is behind, at once and after the
// bound.
func TestWhoIsWaitedFor(t *testing.T) {
	for name, test := range map[string]struct {
		happens     func(*scene)
		want, later string
	}{
		"nothing":                {func(*scene) {}, "a b", ""},
		"both apply it":          {func(s *scene) { s.report("a", "10"); s.report("b", "11") }, "", ""},
		"one applies it":         {func(s *scene) { s.report("a", "10") }, "b", ""},
		"one signs off":          {func(s *scene) { s.report("b", "9", signedOff) }, "a", ""},
		"one record is removed":  {func(s *scene) { delete(s.canary, "b"); s.observe() }, "a b", ""},
		"one is vouched for":     {func(s *scene) { s.canary["b"] = Record{SignedOff: true}; s.observe() }, "a", ""},
		"the canary is replaced": {func(s *scene) { s.replaceCanary() }, "a b ?5m0s", ""},
		"it is created again":    {func(s *scene) { s.uid = "second"; s.replaceCanary() }, "a b ?5m0s", ""},
		"it is restored":         {func(s *scene) { s.uid = "second"; s.observe() }, "a b ?5m0s", ""},
		"replaced, and both report": {func(s *scene) {
			s.replaceCanary()
			s.report("a", "10")
			s.report("b", "10")
		}, " ?5m0s", ""},
		"replaced, and one has a longer bound": {func(s *scene) {
			s.report("b", "1", bound(time.Hour))
			s.replaceCanary()
		}, "a b ?1h0m0s", "b ?1h0m0s"},
		"a restart":                  {func(s *scene) { s.restart() }, "a b", ""},
		"replaced, and a restart":    {func(s *scene) { s.replaceCanary(); s.restart() }, "a b ?5m0s", ""},
		"removed, and a restart":     {func(s *scene) { delete(s.canary, "b"); s.restart() }, "a b", ""},
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
		"no bound":                   {func(s *scene) { s.report("b", "1", bound(0)) }, "a b", "b"},
		"too short a bound":          {func(s *scene) { s.report("b", "1", bound(time.Second)) }, "a b", "b"},
		"a negative bound":           {func(s *scene) { s.report("b", "1", bound(-time.Hour)) }, "a b", "b"},
		"too long a bound":           {func(s *scene) { s.report("b", "1", bound(100*time.Hour)) }, "a b", "b"},
		"an invalid resourceVersion": {func(s *scene) { s.report("b", "ten") }, "a b", ""},
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

// TestOverwrittenVerifierMayHaveReported checks that the bound of a verifier whose record was overwritten counts from
// when that is seen.
func TestOverwrittenVerifierMayHaveReported(t *testing.T) {
	s := newScene("a")
	s.wait(4 * time.Minute)
	s.report("a", "10", instance("another"))
	s.wait(4 * time.Minute)
	s.expect(t, "a")
	s.wait(time.Minute + time.Second)
	s.expect(t, "")
}

// TestRemovedVerifierMayHaveReported checks that the bound of a verifier whose record was removed counts from when that
// is seen: its last record may have been removed before anybody saw it.
func TestRemovedVerifierMayHaveReported(t *testing.T) {
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
		t.Errorf("%d are closed, want 1", p.Closed)
	}
	s.wait(time.Hour)
	s.observe()
	if p := s.Progress("10", s.now); p.Closed != 0 {
		t.Error("it is never removed")
	}
	s.report("a", "1") // It was suspended, and continues.
	s.expect(t, "a")
}

// TestFirstStartDoesNotWait checks that a canary without a seal makes a controller wait only if there was a controller
// before it.
func TestFirstStartDoesNotWait(t *testing.T) {
	r, now := NewRoster(), time.Unix(1_800_000_000, 0)
	r.Load(nil, now)
	r.Observe("first", false, map[string]Record{"a": {Nonce: "1", Applied: "10"}}, now)
	if p := r.Progress("10", now); p.Unknown != 0 || p.Applied != 1 {
		t.Errorf("%+v", p)
	}
	if !r.SealDue(now) {
		t.Error("the canary is not to be sealed")
	}

	document := r.Document(now)
	r = NewRoster()
	r.Observe("first", false, map[string]Record{}, now)
	if r.SealDue(now) {
		t.Error("a controller that doesn't lead seals the canary")
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

// TestRosterIsBounded checks that a hostile verifier that uses a new instance each time doesn't make the roster grow.
func TestRosterIsBounded(t *testing.T) {
	s := newScene("a")
	s.report("z", "1", bound(time.Hour))
	for i := range 3 * maxMembers {
		s.report("b", "10", instance(fmt.Sprint(i)))
	}
	if len(s.members) > maxMembers || len(s.departed) > maxMembers {
		t.Errorf("%d members, %d that have departed", len(s.members), len(s.departed))
	}
	if got := s.behind(); !strings.Contains(got, "?1h0m0s") {
		t.Errorf("behind is %q, want the removed verifier to be counted as unknown", got)
	}
	text := fmt.Sprint(s.Document(s.now))
	if len(text) > 200<<10 {
		t.Errorf("the document has %d bytes", len(text))
	}
}

// TestChanged checks that the document changes when a verifier comes, leaves or has another bound, and not with each
// record.
func TestChanged(t *testing.T) {
	s := newScene()
	for _, step := range []struct {
		what string
		do   func()
		want bool
	}{
		{"a comes", func() { s.report("a", "1") }, true},
		{"a reports", func() { s.wait(time.Second); s.report("a", "2") }, false},
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
		t.Errorf("saved is %+v", got)
	}
}

// TestSignOffBetweenControllersIsSaved lets a verifier sign off between two controllers. Whether the second sees the
// canary or the saved document first, it has to save a new one: once the sign-off is removed from the canary, a third
// controller would wait for the verifier.
func TestSignOffBetweenControllersIsSaved(t *testing.T) {
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
				t.Error("there is nothing to be saved")
			}
			if got := s.Document(s.now); len(got.Verifiers) != 0 {
				t.Errorf("saved is %+v", got)
			}
		})
	}
}

// TestClosed checks which records may be removed from the canary.
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
		t.Errorf("%v may be removed", got)
	}
	s.report("b", "1", signedOff)
	s.wait(verifierBound + time.Second)
	stranger := Record{Nonce: "x", Instance: "unseen"}
	if got := closed(); !slices.Equal(got, []string{"a", "b"}) || s.Closed("a", stranger, s.now) {
		t.Errorf("%v may be removed", got)
	}
	s.Prune("a", s.canary["a"], s.now)
	if s.knows("a", "a's") {
		t.Error("a is still waited for")
	}
}

func TestRecords(t *testing.T) {
	record := Record{
		Nonce: "n", Applied: "5", MaxStaleness: metav1.Duration{Duration: time.Minute},
		Instance: "i", Pod: "p", Contested: "c",
	}
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
