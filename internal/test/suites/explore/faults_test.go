package explore_test

import (
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// plan is what goes wrong in a run, and when.
type plan struct {
	// faults has the faults, by the number of the write that they hit. Writes are counted from 1.
	faults map[int]string
	// wake is the stage at the end of which a sleeping controller continues with its write.
	wake int
	// stale is the old state in a second controller's cache.
	stale *stale
	// turns has the process that makes each turn of a race, as far as that is decided; after that it is the first one.
	// Without races all take turns write by write.
	turns []int
	races bool
	// probing is set in the run that searches for old states that lead to writes.
	probing bool
}

func (p plan) String() string {
	var text string
	for _, at := range slices.Sorted(maps.Keys(p.faults)) {
		text += fmt.Sprintf(" %s at write %d", p.faults[at], at)
	}
	switch {
	case p.stale != nil:
		return fmt.Sprintf("stale %s", p.stale)
	case p.races:
		return fmt.Sprintf("turns %v", p.turns)
	case slices.Contains(slices.Collect(maps.Values(p.faults)), asleep):
		text += fmt.Sprintf(" until stage %d", p.wake)
	case text == "":
		return "no fault"
	}
	return text
}

// first returns the plan's first fault, and its write.
func (p plan) first() (at int, fault string) {
	at = slices.Min(slices.Collect(maps.Keys(p.faults)))
	return at, p.faults[at]
}

// effect is what a fault does to a task.
type effect int

const (
	goesOn effect = iota
	// ends is the effect on a task whose process is gone.
	ends
	// sleeps is the effect on a task that continues later.
	sleeps
)

const (
	down   = "down "
	asleep = "asleep"
)

// faultFunc makes a fault happen to a write.
type faultFunc func(*run, *task, *write) effect

// faults has all faults that can happen to a write.
var faults = map[string]faultFunc{
	"stop before": func(r *run, t *task, _ *write) effect {
		r.kill(t)
		return ends
	},
	"stop after": func(r *run, t *task, w *write) effect {
		r.commit(w)
		r.kill(t)
		return ends
	},
	// The same, but no controller runs until users have done the next thing.
	down + "before": func(r *run, t *task, _ *write) effect {
		r.kill(t)
		r.down, r.leader = true, nil
		return ends
	},
	down + "after": func(r *run, t *task, w *write) effect {
		r.commit(w)
		r.kill(t)
		r.down, r.leader = true, nil
		return ends
	},
	"conflict": func(_ *run, _ *task, w *write) effect {
		w.answer = w.conflict()
		return goesOn
	},
	"429": func(_ *run, _ *task, w *write) effect {
		w.answer = apierrors.NewTooManyRequests("the explorer says so", 1)
		return goesOn
	},
	"500": func(_ *run, _ *task, w *write) effect {
		w.answer = apierrors.NewInternalError(fmt.Errorf("the explorer says so"))
		return goesOn
	},
	"lost reply": func(r *run, _ *task, w *write) effect {
		r.commit(w)
		w.answer = &url.Error{Op: w.verb, URL: w.name, Err: io.ErrUnexpectedEOF}
		return goesOn
	},
	// Another controller does everything there is to do, and then the write is made.
	"competitor": func(r *run, _ *task, w *write) effect {
		r.compete()
		r.commit(w)
		return goesOn
	},
	// Another controller takes over permanently. The first one still believes that it leads, and makes its write stages
	// later.
	asleep: func(r *run, t *task, w *write) effect {
		t.pending = w
		r.sleepers = append(r.sleepers, t)
		r.kill(t)
		return sleeps
	},
}

// drive runs a task to its end.
func (r *run) drive(t *task) {
	for {
		w, more := t.next()
		if !more {
			r.look(t)
			return
		}
		switch r.answer(t, w) {
		case ends:
			t.stop()
			return
		case sleeps:
			return
		}
	}
}

// answer decides what happens to a write.
func (r *run) answer(t *task, w *write) effect {
	if r.unnumbered {
		r.log("  (%s)", w)
		r.commit(w)
		return goesOn
	}
	r.outcome.stageOf = append(r.outcome.stageOf, r.outcome.stages)
	number := len(r.outcome.stageOf)
	fault := r.plan.faults[number]
	r.log("%d %s %s", number, w, fault)
	if fault == "" {
		r.commit(w)
		return goesOn
	}
	r.outcome.fired++
	result := r.testbed.faults[fault](r, t, w)
	r.check()
	return result
}

// commit makes a write, and checks the result.
func (r *run) commit(w *write) {
	w.answer = w.send()
	r.observe(w.kind)
	r.check()
}

// kill ends a task's process. Another one takes its place.
func (r *run) kill(t *task) {
	if t.process == r.leader {
		r.leader = r.newProcess()
		clear(r.wakes)
	}
}

// aside makes writes that the plan doesn't count.
func (r *run) aside(do func()) {
	defer func(before bool) { r.unnumbered = before }(r.unnumbered)
	r.unnumbered = true
	do()
}

// compete lets another process reconcile everything.
func (r *run) compete() {
	r.aside(func() {
		other := r.newProcess()
		for _, name := range r.names {
			r.driveIfAny(r.begin(other, target{keyKind, name}, nil))
		}
		for _, name := range r.tenants {
			r.driveIfAny(r.begin(other, target{tenantKind, name}, nil))
		}
		if r.scenario.tended {
			r.driveIfAny(r.begin(other, target{kind: canaryKind}, nil))
		}
	})
}

func (r *run) driveIfAny(t *task) {
	if t != nil {
		r.drive(t)
	}
}

// wakeSleepers lets sleeping tasks continue: first with the write that they were about to make.
func (r *run) wakeSleepers() {
	r.aside(func() {
		for _, t := range r.sleepers {
			r.log("  (awake: %s)", t.pending)
			r.commit(t.pending)
			r.drive(t)
		}
	})
	r.sleepers = nil
	r.settle()
}

// look checks what a task has logged.
func (r *run) look(t *task) {
	if t.err != nil {
		r.log("  error: %v", t.err)
		r.witness.said = append(r.witness.said, t.err.Error())
	}
	r.check()
}
