package explore_test

import "slices"

// race lets several reconciliations, each in a process of its own, take turns: at each turn, one of them makes the
// write at which it stopped, and continues to its next one.
func (r *run) race(of func(*run) []target) {
	if r.leader == nil {
		return
	}
	var tasks []*task
	for i, each := range of(r) {
		p := r.leader
		if i > 0 {
			p = r.newProcess()
		}
		if t := r.begin(p, each, nil); t != nil {
			tasks = append(tasks, t)
		}
	}
	for turn := 0; len(tasks) > 0; turn++ {
		at := r.whoseTurn(turn, len(tasks))
		if !r.step(tasks[at]) {
			tasks = slices.Delete(tasks, at, at+1)
		}
	}
}

func (r *run) whoseTurn(turn, of int) int {
	if !r.plan.races {
		return turn % of
	}
	at := 0
	if turn < len(r.plan.turns) {
		at = r.plan.turns[turn]
	}
	r.outcome.branches = append(r.outcome.branches, of)
	r.outcome.turns = append(r.outcome.turns, at)
	return at
}

// step makes the write at which a task has stopped, and lets it continue to the next one. It returns false at the
// task's end.
func (r *run) step(t *task) bool {
	if w := t.pending; w != nil {
		t.pending = nil
		switch r.answer(t, w) {
		case ends:
			t.stop()
			return false
		case sleeps:
			return false
		}
	}
	w, more := t.next()
	if !more {
		r.look(t)
	}
	t.pending = w
	return more
}

// forks returns the plans of races that start like a run's and take another turn somewhere after the turns that its
// plan decided. Starting with the empty plan, they cover all races, each once.
func (o outcome) forks() []plan {
	var plans []plan
	for at := len(o.plan.turns); at < len(o.turns); at++ {
		for other := 1; other < o.branches[at]; other++ {
			plans = append(plans, plan{races: true, wake: never, turns: append(slices.Clone(o.turns[:at]), other)})
		}
	}
	return plans
}
