package main

import (
	"fmt"
	"slices"
)

// verdict says whether a goal was reached.
type verdict string

const (
	met verdict = "yes"
	// unclear means that the median round misses the goal and others reach it: this run does not show that it is
	// missed.
	unclear verdict = "within the spread"
	missed  verdict = "no"
	// leftOut means that nothing was measured.
	leftOut verdict = "left out"
)

// fewRounds is the number of rounds up to which the spread covers all of them. If there are more, a tenth at each end
// is left out.
const fewRounds = 20

// bounds returns the lowest and the highest round, or those of most rounds if there are many.
func (s samples) bounds() (low, high float64) {
	if len(s) > fewRounds {
		return s.quantile(0.1), s.quantile(0.9)
	}
	return s.quantile(0), s.quantile(1)
}

// by returns the ratio of each round to the round of others that was measured beside it.
func (s samples) by(others samples) samples {
	ratios := make(samples, 0, len(s))
	for i := range min(len(s), len(others)) {
		if others[i] > 0 {
			ratios = append(ratios, s[i]/others[i])
		}
	}
	return ratios
}

// atMost returns the verdict on rounds that should be no more than a goal.
func (s samples) atMost(goal float64) verdict {
	low, _ := s.bounds()
	return verdictOf(len(s) > 0, s.median() <= goal, low <= goal)
}

// atLeast returns the verdict on rounds that should be no less than a goal.
func (s samples) atLeast(goal float64) verdict {
	_, high := s.bounds()
	return verdictOf(len(s) > 0, s.median() >= goal, high >= goal)
}

// atMost returns a function with the verdict on ratios that should be no more than a goal.
func atMost(goal float64) func(samples) verdict {
	return func(ratios samples) verdict { return ratios.atMost(goal) }
}

func verdictOf(measured, typical, some bool) verdict {
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

// inTurns returns a figure of rounds that were measured in turns with others. Its values are those of the round with
// the median ratio, and its spread is that of the ratios.
func inTurns(name, unit, goal string, own, others samples, decide func(ratios samples) verdict) figure {
	ratios := own.by(others)
	f := figure{Name: name, Unit: unit, Goal: goal, Ratio: ratios.median(), verdict: decide(ratios)}
	if len(ratios) > 0 {
		f.Value, f.Baseline = middle(own, others)
		low, high := ratios.bounds()
		f.Spread = fmt.Sprintf("%.3g to %.3g in %d rounds", low, high, len(ratios))
	}
	return f
}

// Exit codes of this program. They add up.
const (
	exitMissed  = 1
	exitLeftOut = 2
)

// exitCode returns the exit code for figures.
func exitCode(figures []figure) int {
	code := 0
	if slices.ContainsFunc(figures, func(f figure) bool { return f.finalVerdict() == missed }) {
		code |= exitMissed
	}
	if slices.ContainsFunc(figures, func(f figure) bool { return f.finalVerdict() == leftOut }) {
		code |= exitLeftOut
	}
	return code
}

// meaning describes an exit code in words.
func meaning(code int) string {
	return map[int]string{
		0:                        "every goal is met, or within the spread",
		exitMissed:               "a goal is missed beyond the spread",
		exitLeftOut:              "something could not be measured",
		exitMissed | exitLeftOut: "a goal is missed beyond the spread, and something could not be measured",
	}[code]
}
