package main

import (
	"fmt"
	"slices"
)

// verdict says what became of a goal.
type verdict string

const (
	met verdict = "yes"
	// unclear is a goal that the round in the middle misses and others reach: this run does not show that it is missed.
	unclear verdict = "within the spread"
	missed  verdict = "no"
	// leftOut is for what was not measured.
	leftOut verdict = "left out"
)

// fewRounds is up to how many rounds the spread is that of all of them. Of more, a tenth at each end is left out.
const fewRounds = 20

// bounds are the lowest and the highest of rounds, or of most of them where there are many.
func (s samples) bounds() (low, high float64) {
	if len(s) > fewRounds {
		return s.quantile(0.1), s.quantile(0.9)
	}
	return s.quantile(0), s.quantile(1)
}

// by returns the ratio of each round to another's that was measured beside it.
func (s samples) by(others samples) samples {
	ratios := make(samples, 0, len(s))
	for i := range min(len(s), len(others)) {
		if others[i] > 0 {
			ratios = append(ratios, s[i]/others[i])
		}
	}
	return ratios
}

// atMost judges rounds by a goal that is the most they may be.
func (s samples) atMost(goal float64) verdict {
	low, _ := s.bounds()
	return judge(len(s) > 0, s.median() <= goal, low <= goal)
}

// atLeast judges rounds by a goal that is the least they may be.
func (s samples) atLeast(goal float64) verdict {
	_, high := s.bounds()
	return judge(len(s) > 0, s.median() >= goal, high >= goal)
}

// atMost judges ratios by the most they may be.
func atMost(goal float64) func(samples) verdict {
	return func(ratios samples) verdict { return ratios.atMost(goal) }
}

func judge(measured, typical, some bool) verdict {
	switch {
	case !measured:
		return missed
	case typical:
		return met
	case some:
		return unclear
	}
	return missed
}

// inTurns returns a figure of rounds that were measured in turns with others. The values are those of the round whose
// ratio is the one in the middle, and the spread is that of the ratios.
func inTurns(name, unit, goal string, own, others samples, judged func(ratios samples) verdict) figure {
	ratios := own.by(others)
	f := figure{Name: name, Unit: unit, Goal: goal, Ratio: ratios.median(), verdict: judged(ratios)}
	if len(ratios) > 0 {
		f.Value, f.Baseline = middle(own, others)
		low, high := ratios.bounds()
		f.Spread = fmt.Sprintf("%.3g to %.3g in %d rounds", low, high, len(ratios))
	}
	return f
}

// exit codes of this program. They add up.
const (
	exitMissed  = 1
	exitLeftOut = 2
)

// exitCode says in a number what figures come to.
func exitCode(figures []figure) int {
	code := 0
	if slices.ContainsFunc(figures, func(f figure) bool { return f.said() == missed }) {
		code |= exitMissed
	}
	if slices.ContainsFunc(figures, func(f figure) bool { return f.said() == leftOut }) {
		code |= exitLeftOut
	}
	return code
}

// meaning says in words what an exit code is about.
func meaning(code int) string {
	return map[int]string{
		0:                        "every goal is met, or within the spread",
		exitMissed:               "a goal is missed beyond the spread",
		exitLeftOut:              "something could not be measured",
		exitMissed | exitLeftOut: "a goal is missed beyond the spread, and something could not be measured",
	}[code]
}
