package explore_test

import "fmt"

// stale is one reconciliation with an outdated cache.
type stale struct {
	of target
	// at is the number of states at that time, and shown the state of the parts that the cache shows.
	at, shown int
	parts     string
}

func (s stale) String() string {
	return fmt.Sprintf("%s of %s %s as of state %d at state %d", s.parts, s.of.kind, s.of.name, s.shown, s.at)
}

// parts are the parts that may be outdated: each informer by itself, or all.
var parts = map[string][]part{
	"keys":       {keysPart},
	"tenants":    {tenantsPart},
	"namespace":  {namespacePart},
	"secrets":    {secretsPart},
	"everything": {keysPart, tenantsPart, namespacePart, secretsPart},
}

// showOldStates lets a second controller reconcile a target in an old state, if the plan says so. In the probing run it
// does so for every state, and records which would lead to a write.
func (r *run) showOldStates(of target) {
	if r.leader == nil || of.kind == canaryKind {
		return
	}
	switch {
	case r.plan.probing:
		r.probe(of)
	case r.plan.stale != nil && !r.witness.shownStale && r.plan.stale.at == len(r.history) &&
		r.plan.stale.of == r.alias(of):
		r.witness.shownStale = true
		r.log("shown %s", r.plan.stale)
		seen := r.latest().with(r.history[r.plan.stale.shown], parts[r.plan.stale.parts]...)
		r.aside(func() { r.driveIfAny(r.begin(r.newProcess(), of, seen)) })
	}
}

// alias returns a target by a name that is the same in every run.
func (r *run) alias(of target) target {
	for i, name := range r.tenants {
		if of.kind == tenantKind && name == of.name {
			of.name = fmt.Sprint(i)
		}
	}
	return of
}

// probe reconciles a target in every state so far. A state that leads to no write that the API server would accept has
// no consequences. One that does gets a run of its own.
func (r *run) probe(of target) {
	at := stale{of: r.alias(of), at: len(r.history)}
	if r.witness.probed[at] {
		return // The same reconciliation at the same moment: its result is known.
	}
	r.witness.probed[at] = true
	for name, ps := range parts {
		tried := map[string]bool{r.latest().versions(ps): true}
		for i, earlier := range r.history {
			if tried[earlier.versions(ps)] || (len(ps) > 1 && r.latest().differsInOne(earlier)) {
				continue
			}
			tried[earlier.versions(ps)] = true
			s := at
			s.shown, s.parts = i, name
			if r.writes(r.begin(r.newProcess(), of, r.latest().with(earlier, ps...))) {
				r.outcome.stale = append(r.outcome.stale, s)
			} else {
				r.outcome.probed++
			}
		}
	}
}

// writes reports whether a task would make a write that the API server accepts. The task ends there.
func (r *run) writes(t *task) bool {
	if t == nil {
		return false
	}
	defer t.stop()
	for {
		w, more := t.next()
		if !more {
			return false
		}
		if w.answer = w.send(dryRunAll); w.answer == nil {
			return true
		}
	}
}

func (s *state) versions(parts []part) string {
	text := ""
	for _, p := range parts {
		text += fmt.Sprint(s.version[p], " ")
	}
	return text
}

func (s *state) differsInOne(other *state) bool {
	differ := 0
	for _, p := range parts["everything"] {
		if s.version[p] != other.version[p] {
			differ++
		}
	}
	return differ <= 1
}
