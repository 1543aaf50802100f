package probe

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Verifier is one process that answers requests. Another process of the same name has another instance. Old versions
// have none.
type Verifier struct {
	Name     string `json:"name"`
	Instance string `json:"instance,omitempty"`
}

// Roster tracks which verifiers may be answering. It knows more than the canary shows, because anyone may have removed
// a record from there, and two verifiers may write to the same place. So a verifier leaves the roster only after it has
// signed off, or has been silent for so long that it must refuse everything.
//
// All times are of the caller's clock, and count from when something was seen. The verifiers' own clocks don't matter.
type Roster struct {
	members map[Verifier]*member
	// departed are the verifiers that have left, and when. They are kept as long as another verifier could still name them
	// as its rival.
	departed map[Verifier]time.Time
	// canary is the UID of the canary that was seen last, and sealed whether it had the seal. canarySeen is set once there
	// was one.
	canary     string
	sealed     bool
	canarySeen bool
	// loaded is set once Load was called: the roster then includes what earlier processes knew. first is set if there were
	// none.
	loaded, first bool
	// missingSince is when it was last found that the roster may lack verifiers. One of those may go on answering for
	// missingBound after that.
	missingSince time.Time
	missingBound time.Duration
	// longest is the longest bound of a verifier, as of when there last was one.
	longest time.Duration
	changed bool
}

// member is a verifier that may be answering.
type member struct {
	record Record
	// lastSeen is when its latest nonce was first seen, or when its record was found to be removed, if that was later.
	lastSeen time.Time
	present  bool
}

// closed reports whether the verifier must refuse everything.
func (m *member) closed(now time.Time) bool { return now.Sub(m.lastSeen) > m.record.Bound() }

const (
	// maxMembers bounds the roster. There are not that many verifiers, but a hostile one may use a new instance each time.
	maxMembers = 500
	// keepClosed is how long a verifier without a record stays in the roster after it must refuse everything, so that it
	// is still counted as closed.
	keepClosed = time.Minute
)

// NewRoster returns an empty roster.
func NewRoster() *Roster {
	return &Roster{members: map[Verifier]*member{}, departed: map[Verifier]time.Time{}}
}

// Progress is how far the verifiers are with a change.
type Progress struct {
	// Applied is how many have applied it. Behind names those that have not, and may still answer without it.
	Applied int
	Behind  []string
	// Closed is how many have been silent for so long that they refuse everything.
	Closed int
	// Unknown is how long a verifier that the roster lacks may go on answering, or zero if there can be none. UnknownFor
	// is how long ago it was found that there may be one.
	Unknown, UnknownFor time.Duration
}

// Progress returns how far the verifiers are with the change that has the resourceVersion.
func (r *Roster) Progress(resourceVersion string, now time.Time) Progress {
	var p Progress
	for verifier, m := range r.members {
		switch {
		case m.record.HasApplied(resourceVersion):
			p.Applied++
		case m.closed(now):
			p.Closed++
		default:
			p.Behind = append(p.Behind, verifier.Name)
		}
	}
	slices.Sort(p.Behind)
	if p.UnknownFor = now.Sub(r.missingSince); !r.missingSince.IsZero() && p.UnknownFor <= r.missingBound {
		p.Unknown = r.missingBound
	}
	return p
}

// Observe updates the roster from the records on a canary. Each call must be for a newer state of the canary than the
// last.
func (r *Roster) Observe(canary string, sealed bool, records map[string]Record, now time.Time) {
	for verifier, m := range r.members {
		if record, ok := records[verifier.Name]; m.present && (!ok || record.Instance != verifier.Instance) {
			m.present, m.lastSeen = false, now // Its last nonce may have been removed unseen.
		}
	}
	for name, record := range records {
		if record.SignedOff {
			r.signOff(name, record.Instance, now)
		} else {
			r.observeRecord(Verifier{name, record.Instance}, record, now)
		}
	}
	r.detectReplacement(canary, sealed, now)
	r.expire(now)
}

// observeRecord updates the roster from the record of one verifier.
func (r *Roster) observeRecord(verifier Verifier, record Record, now time.Time) {
	m := r.members[verifier]
	if m == nil {
		r.makeRoom(now)
		m = &member{record: record}
		r.members[verifier] = m
		delete(r.departed, verifier)
		r.changed = true
	}
	news := !m.present || m.record.Nonce != record.Nonce
	if news {
		m.lastSeen = now
	}
	r.changed = r.changed || known(verifier, m.record) != known(verifier, record)
	m.record, m.present = record, true
	r.longest = r.longestBound()
	switch rival := (Verifier{verifier.Name, record.Contested}); {
	case record.Contested == "":
		r.supersede(verifier, record, now)
	case news && r.members[rival] == nil && r.departed[rival].IsZero():
		r.markMissing(now) // The verifier has seen one that the roster lacks.
	}
}

// supersede removes the predecessors of a verifier: those that ran before it in the same pod under the same name.
func (r *Roster) supersede(verifier Verifier, record Record, now time.Time) {
	for other, m := range r.members {
		if record.Pod != "" && other.Name == verifier.Name && other != verifier && m.record.Pod == record.Pod {
			r.remove(other, now)
		}
	}
}

// signOff removes a verifier that has signed off. Without an instance, it removes all verifiers of the name.
func (r *Roster) signOff(name, instance string, now time.Time) {
	for verifier := range r.members {
		if verifier.Name == name && (instance == "" || verifier.Instance == instance) {
			r.remove(verifier, now)
		}
	}
	r.departed[Verifier{name, instance}] = now
}

func (r *Roster) remove(verifier Verifier, now time.Time) {
	delete(r.members, verifier)
	r.departed[verifier] = now
	r.changed = true
}

// makeRoom keeps the roster within its limit. It removes the verifier that has been silent for longest, and notes that
// the roster now lacks one.
func (r *Roster) makeRoom(now time.Time) {
	if len(r.members) < maxMembers {
		return
	}
	var longest Verifier
	var since time.Time
	for verifier, m := range r.members {
		if since.IsZero() || m.lastSeen.Before(since) {
			longest, since = verifier, m.lastSeen
		}
	}
	bound := r.members[longest].record.Bound()
	r.remove(longest, now)
	r.markMissing(now)
	r.missingBound = max(r.missingBound, bound)
}

// detectReplacement detects that the canary was replaced or is another object. It then has no seal, and may have lost
// records that nobody here has seen.
func (r *Roster) detectReplacement(canary string, sealed bool, now time.Time) {
	replaced := r.canarySeen && (canary != r.canary || r.sealed && !sealed)
	if r.loaded && !r.first && (replaced || !r.canarySeen && !sealed) {
		r.markMissing(now)
	}
	r.canary, r.sealed, r.canarySeen = canary, sealed, true
	r.first = r.first && !sealed
}

// markMissing notes that the roster may lack verifiers.
func (r *Roster) markMissing(now time.Time) {
	bound := r.longest
	if !r.missingSince.IsZero() && now.Sub(r.missingSince) <= r.missingBound {
		bound = max(bound, r.missingBound)
	}
	r.missingSince, r.missingBound = now, bound
}

// expire removes the verifiers that have no record and have had to refuse everything for a while.
func (r *Roster) expire(now time.Time) {
	for verifier, m := range r.members {
		if !m.present && now.Sub(m.lastSeen) > m.record.Bound()+keepClosed {
			r.remove(verifier, now)
		}
	}
	for verifier, since := range r.departed {
		if now.Sub(since) > Longest || len(r.departed) > maxMembers {
			delete(r.departed, verifier)
		}
	}
}

// longestBound returns the longest bound of the verifiers in the roster or, if it is empty, of those that were in it
// last.
func (r *Roster) longestBound() time.Duration {
	var longest time.Duration
	for _, m := range r.members {
		longest = max(longest, m.record.Bound())
	}
	return cmp.Or(longest, r.longest)
}

// Closed reports whether a record may be removed from the canary, because its verifier has signed off or must refuse
// everything.
func (r *Roster) Closed(name string, record Record, now time.Time) bool {
	if record.SignedOff {
		return true
	}
	m := r.members[Verifier{name, record.Instance}]
	return m != nil && m.present && m.record.Nonce == record.Nonce && m.closed(now)
}

// Prune removes a verifier whose record was removed from the canary because it must refuse everything.
func (r *Roster) Prune(name string, record Record, now time.Time) {
	r.remove(Verifier{name, record.Instance}, now)
}

// SealDue reports whether the canary should be sealed: it has no seal, and the roster can't lack a verifier any more.
func (r *Roster) SealDue(now time.Time) bool {
	return r.loaded && r.canarySeen && !r.sealed && r.Progress("", now).Unknown == 0
}

// Document is what a roster saves for the next process.
type Document struct {
	Verifiers []Known `json:"verifiers"`
	// Longest is the longest bound of these verifiers or, if there are none, of those that were there last.
	Longest metav1.Duration `json:"longest"`
}

// Known is a verifier that may be answering, as it is saved.
type Known struct {
	Verifier `json:",inline"`

	Pod          string          `json:"pod,omitempty"`
	MaxStaleness metav1.Duration `json:"maxStaleness"`
}

func known(verifier Verifier, record Record) Known {
	return Known{Verifier: verifier, Pod: record.Pod, MaxStaleness: metav1.Duration{Duration: record.Bound()}}
}

// Load adds what earlier processes have saved; nil if there were none. All times in it count from now.
func (r *Roster) Load(document *Document, now time.Time) {
	if !r.loaded {
		r.first = document == nil && !r.sealed
	}
	if document != nil {
		for _, k := range document.Verifiers {
			switch {
			case r.hasLeft(k.Verifier):
				r.changed = true // Otherwise the next process would wait for it once its sign-off is removed.
			case r.members[k.Verifier] == nil && len(r.members) < maxMembers:
				record := Record{Instance: k.Instance, Pod: k.Pod, MaxStaleness: k.MaxStaleness}
				r.members[k.Verifier] = &member{record: record, lastSeen: now}
			}
		}
		r.longest = max(r.longestBound(), min(document.Longest.Duration, Longest))
	}
	if !r.loaded && document != nil && r.canarySeen && !r.sealed {
		r.markMissing(now)
	}
	r.loaded = true
}

// hasLeft reports whether a verifier has signed off, under its instance or under its name alone.
func (r *Roster) hasLeft(verifier Verifier) bool {
	return !r.departed[verifier].IsZero() || !r.departed[Verifier{Name: verifier.Name}].IsZero()
}

// Document returns what the next process has to know. It omits verifiers that must refuse everything.
func (r *Roster) Document(now time.Time) Document {
	d := Document{Longest: metav1.Duration{Duration: r.longestBound()}, Verifiers: []Known{}}
	for verifier, m := range r.members {
		if !m.closed(now) {
			d.Verifiers = append(d.Verifiers, known(verifier, m.record))
		}
	}
	slices.SortFunc(d.Verifiers, func(a, b Known) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Instance, b.Instance))
	})
	return d
}

// Changed reports whether Document has changed since the last call of MarkSaved.
func (r *Roster) Changed() bool { return r.changed }

// MarkSaved records that the document is being written. If that fails, call MarkChanged.
func (r *Roster) MarkSaved() { r.changed = false }

// MarkChanged records that the document has to be written.
func (r *Roster) MarkChanged() { r.changed = true }
