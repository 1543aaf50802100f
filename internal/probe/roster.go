package probe

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Verifier is one process that answers requests. Another of the same name has another instance; versions before there were
// instances have none.
type Verifier struct {
	Name     string `json:"name"`
	Instance string `json:"instance,omitempty"`
}

// Roster is which verifiers may be answering. It knows more than the canary shows: somebody may have taken a probe away that is not
// theirs, or two verifiers may write in one place. So nobody leaves it who has not signed off, or been silent for longer than they
// may go on.
//
// Times are of the caller's clock, and count from when something was seen. Verifiers' own times play no part.
type Roster struct {
	members map[Verifier]*member
	// departed are those that have left, and when, for as long as a verifier could still name them as its rival.
	departed map[Verifier]time.Time
	// canary is the UID of the canary that was seen last, and sealed whether it bore its seal.
	canary     string
	sealed     bool
	canarySeen bool
	// loaded is set once Load was called: what earlier processes knew is in the roster. first says that there were none.
	loaded, first bool
	// missingSince is when it showed last that verifiers may be missing from the roster, and for how long after it one of those may go
	// on.
	missingSince time.Time
	missingBound time.Duration
	// longest is the longest bound when there was last a verifier.
	longest time.Duration
	changed bool
}

// member is a verifier that may be answering.
type member struct {
	record Record
	// lastSeen is when its latest nonce was seen first, or, if its probe was taken away since, when that was seen.
	lastSeen time.Time
	present  bool
}

func (m *member) closed(now time.Time) bool { return now.Sub(m.lastSeen) > m.record.Bound() }

const (
	// maxMembers bounds the roster. There are not that many verifiers, but one that is hostile may say that it is another each time.
	maxMembers = 500
	// keepClosed is how long a verifier that has no probe stays in the roster once it must refuse everything, to be counted as
	// one that nobody waits for.
	keepClosed = time.Minute
)

// NewRoster returns a roster in which nobody is.
func NewRoster() *Roster {
	return &Roster{members: map[Verifier]*member{}, departed: map[Verifier]time.Time{}}
}

// Progress is how far the verifiers are with one change.
type Progress struct {
	// Applied is how many have applied it; Behind names those that have not, and may still answer from before it.
	Applied int
	Behind  []string
	// Closed is how many have been silent for so long that they refuse everything.
	Closed int
	// Unknown is how long a verifier may go on answering that nobody knows of; zero if there can be none. UnknownFor is how long ago
	// it was found that there may be one.
	Unknown, UnknownFor time.Duration
}

// Progress holds the roster against a change.
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

// Observe takes in what a canary says. Only a newer state of it may follow an older one.
func (r *Roster) Observe(canary string, sealed bool, records map[string]Record, now time.Time) {
	for verifier, m := range r.members {
		if record, ok := records[verifier.Name]; m.present && (!ok || record.Instance != verifier.Instance) {
			m.present, m.lastSeen = false, now // Its last nonce may be one that nobody here has seen.
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
		r.markMissing(now) // The verifier has seen one that nobody here has.
	}
}

// supersede removes the verifiers whose place one has taken: those that ran before it in the same pod under the same name.
func (r *Roster) supersede(verifier Verifier, record Record, now time.Time) {
	for other, m := range r.members {
		if record.Pod != "" && other.Name == verifier.Name && other != verifier && m.record.Pod == record.Pod {
			r.remove(other, now)
		}
	}
}

// signOff removes a verifier that has said that it answers no more. Without an instance, it is all of that name.
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

// makeRoom keeps the roster within its bound. Whoever has been silent for longest goes, and counts as one that nobody knows of.
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

// detectReplacement looks whether the canary was replaced as a whole, or is another object: then its seal is gone, and with it may be probes that
// nobody here has seen.
func (r *Roster) detectReplacement(canary string, sealed bool, now time.Time) {
	replaced := r.canarySeen && (canary != r.canary || r.sealed && !sealed)
	if r.loaded && !r.first && (replaced || !r.canarySeen && !sealed) {
		r.markMissing(now)
	}
	r.canary, r.sealed, r.canarySeen = canary, sealed, true
	r.first = r.first && !sealed
}

// markMissing notes that somebody may be missing from the roster.
func (r *Roster) markMissing(now time.Time) {
	bound := r.longest
	if !r.missingSince.IsZero() && now.Sub(r.missingSince) <= r.missingBound {
		bound = max(bound, r.missingBound)
	}
	r.missingSince, r.missingBound = now, bound
}

// expire forgets those that have no probe and must refuse everything.
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

// longestBound is the longest bound of a verifier in the roster, or of those that were in it last.
func (r *Roster) longestBound() time.Duration {
	var longest time.Duration
	for _, m := range r.members {
		longest = max(longest, m.record.Bound())
	}
	return cmp.Or(longest, r.longest)
}

// Closed reports whether what a verifier has said may be taken off the canary: it has signed off, or must refuse everything.
func (r *Roster) Closed(name string, record Record, now time.Time) bool {
	if record.SignedOff {
		return true
	}
	m := r.members[Verifier{name, record.Instance}]
	return m != nil && m.present && m.record.Nonce == record.Nonce && m.closed(now)
}

// Prune removes a verifier whose probe was taken off the canary because it must refuse everything.
func (r *Roster) Prune(name string, record Record, now time.Time) {
	r.remove(Verifier{name, record.Instance}, now)
}

// SealDue reports whether the canary is to be sealed: it bears no seal, and nobody can be missing from it any more.
func (r *Roster) SealDue(now time.Time) bool {
	return r.loaded && r.canarySeen && !r.sealed && r.Progress("", now).Unknown == 0
}

// Document is what a roster leaves to the process that follows.
type Document struct {
	Verifiers []Known `json:"verifiers"`
	// Longest is the longest bound of these, or of those that were there last.
	Longest metav1.Duration `json:"longest"`
}

// Known is a verifier that may be answering.
type Known struct {
	Verifier `json:",inline"`

	Pod          string          `json:"pod,omitempty"`
	MaxStaleness metav1.Duration `json:"maxStaleness"`
}

func known(verifier Verifier, record Record) Known {
	return Known{Verifier: verifier, Pod: record.Pod, MaxStaleness: metav1.Duration{Duration: record.Bound()}}
}

// Load takes in what earlier processes knew; nil where there were none. Whatever they knew longer ago counts from now.
func (r *Roster) Load(document *Document, now time.Time) {
	if !r.loaded {
		r.first = document == nil && !r.sealed
	}
	if document != nil {
		for _, k := range document.Verifiers {
			switch {
			case r.hasLeft(k.Verifier):
				r.changed = true // Or the process after this one would wait for it, once its sign-off is taken off the canary.
			case r.members[k.Verifier] == nil && len(r.members) < maxMembers:
				r.members[k.Verifier] = &member{record: Record{Instance: k.Instance, Pod: k.Pod, MaxStaleness: k.MaxStaleness}, lastSeen: now}
			}
		}
		r.longest = max(r.longestBound(), min(document.Longest.Duration, Longest))
	}
	if !r.loaded && document != nil && r.canarySeen && !r.sealed {
		r.markMissing(now)
	}
	r.loaded = true
}

// hasLeft reports whether a verifier has signed off, by its instance or as one of its name.
func (r *Roster) hasLeft(verifier Verifier) bool {
	return !r.departed[verifier].IsZero() || !r.departed[Verifier{Name: verifier.Name}].IsZero()
}

// Document returns what the process that follows is to know. Those that must refuse everything are left out.
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

// Changed reports whether Document has changed since Saved was called last.
func (r *Roster) Changed() bool { return r.changed }

// MarkSaved notes that the document is being written, and Touch that it has to be after all.
func (r *Roster) MarkSaved() { r.changed = false }

// MarkChanged notes that the document is to be written.
func (r *Roster) MarkChanged() { r.changed = true }
