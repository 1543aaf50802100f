package feed

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// TestOnlyOwnPendingNoncesProve checks which records on the canary prove freshness. Whoever may read the canary knows
// a verifier's instance and nonces, so neither may prove anything on its own.
func TestOnlyOwnPendingNoncesProve(t *testing.T) {
	const earlier, later = "earlier", "later"
	for name, test := range map[string]struct {
		// proved is the nonce that came back before, if any did.
		proved string
		record probe.Record
		// want is the time that is proved, in seconds after noon; 0 if none is.
		want time.Duration
		// rival is set if the record is taken for that of another process.
		rival bool
	}{
		"its own":                        {"", probe.Record{Instance: "own", Nonce: earlier}, 1, false},
		"its own, the later one":         {"", probe.Record{Instance: "own", Nonce: later}, 2, false},
		"a nonce that it never wrote":    {"", probe.Record{Instance: "own", Nonce: "made up"}, 0, false},
		"no nonce":                       {"", probe.Record{Instance: "own"}, 0, false},
		"a nonce that has proved before": {earlier, probe.Record{Instance: "own", Nonce: earlier}, 0, false},
		"an older one after a later one": {later, probe.Record{Instance: "own", Nonce: earlier}, 0, false},
		"another's, with a nonce of its own, before it has proved": {
			"", probe.Record{Instance: "another", Nonce: earlier}, 0, false,
		},
		"another's, with a nonce of its own": {earlier, probe.Record{Instance: "another", Nonce: later}, 0, true},
		"nobody's, with a nonce of its own":  {earlier, probe.Record{Nonce: later}, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			pace := &intervals{bound: time.Minute}
			p := newProber(nil, Options{Name: "v", MaxStaleness: time.Minute, Clock: func() time.Time { return noon }},
				func() string { return "1" }, pace)
			p.instance = "own"
			p.pending = map[string]time.Time{earlier: noon.Add(time.Second), later: noon.Add(2 * time.Second)}
			observe := func(record probe.Record) (time.Time, bool) {
				return p.observe(&keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{
					Annotations: map[string]string{probe.Annotation("v"): record.String()},
				}})
			}
			if test.proved != "" {
				if _, ok := observe(probe.Record{Instance: "own", Nonce: test.proved}); !ok {
					t.Fatal("its own nonce proves nothing")
				}
			}
			proved, ok := observe(test.record)
			if ok != (test.want != 0) || ok && !proved.Equal(noon.Add(test.want*time.Second)) {
				t.Errorf("it proves %s, %t", proved, ok)
			}
			if other := !p.contested().until.IsZero(); other != test.rival {
				t.Errorf("taken for another process: %t", other)
			}
		})
	}
}

// TestHowLongARivalCounts checks until when another process that writes under a verifier's name keeps it from
// answering: until it must refuse everything itself, or has signed off.
func TestHowLongARivalCounts(t *testing.T) {
	foreign := func(bound time.Duration, change ...func(*probe.Record)) string {
		record := probe.Record{Nonce: "n", Instance: "another", MaxStaleness: metav1.Duration{Duration: bound}}
		for _, c := range change {
			c(&record)
		}
		return record.String()
	}
	signsOff := func(r *probe.Record) { r.SignedOff = true }
	third := func(r *probe.Record) { r.Instance = "third" }
	for name, test := range map[string]struct {
		writes []string
		want   time.Duration
	}{
		"its bound":                       {[]string{foreign(2 * time.Minute)}, 2 * time.Minute},
		"this one's bound, if longer":     {[]string{foreign(probe.Shortest)}, time.Minute},
		"a bound that none can have":      {[]string{foreign(time.Millisecond)}, probe.Longest},
		"a record that can't be read":     {[]string{"?"}, probe.Longest},
		"this one is said to have ended":  {[]string{probe.Gone}, probe.Longest},
		"it signs off":                    {[]string{foreign(time.Hour), foreign(time.Hour, signsOff)}, 0},
		"a third signs off":               {[]string{foreign(time.Hour), foreign(time.Hour, third, signsOff)}, time.Hour},
		"it signs off without being seen": {[]string{foreign(time.Hour, signsOff)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			now := noon
			p := newProber(nil, Options{Name: "v", MaxStaleness: time.Minute, Clock: func() time.Time { return now }},
				func() string { return "1" }, &intervals{bound: time.Minute})
			for _, value := range append([]string{probe.Record{Instance: p.instance}.String()}, test.writes...) {
				p.observe(&keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{
					Annotations: map[string]string{probe.Annotation("v"): value},
				}})
			}
			until := p.contested().until
			if until.IsZero() != (test.want == 0) || test.want != 0 && until.Sub(noon) != test.want {
				t.Fatalf("contested until %s, want %s", until, test.want)
			}
			f := newFreshness(time.Hour)
			f.keysSynced()
			for s := range streams {
				f.prove(s, noon)
			}
			f.contested.Store(&until)
			if test.want > 0 && f.at(until.Add(-1)) != verify.Contested {
				t.Error("it answers while its name is contested")
			}
			if got := f.at(noon.Add(test.want)); got != verify.Fresh {
				t.Errorf("then its freshness is %d", got)
			}
			if now = noon.Add(test.want); !p.contested().until.IsZero() {
				t.Error("the other counts forever")
			}
		})
	}
}
