package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// rounds returns n times the same value.
func rounds(n int, value float64) (s samples) {
	for range n {
		s = append(s, value)
	}
	return s
}

// TestVerdict checks that a goal is missed only if the rounds miss it beyond their spread.
func TestVerdict(t *testing.T) {
	for name, test := range map[string]struct {
		seen           samples
		most, atLeast2 verdict
	}{
		"no rounds":                    {nil, missed, missed},
		"one, better":                  {samples{1}, met, missed},
		"one, as good":                 {samples{2}, met, met},
		"one, worse":                   {samples{3}, missed, met},
		"the middle is good":           {samples{9, 1, 2}, met, met},
		"only some are good":           {samples{2.1, 1.9, 2.2}, unclear, met},
		"none is good":                 {samples{2.1, 2.3, 2.2}, missed, met},
		"many, a few of them good":     {append(rounds(95, 3), rounds(5, 1)...), missed, met},
		"many, a fifth of them good":   {append(rounds(80, 3), rounds(20, 1)...), unclear, met},
		"many, a fifth of them enough": {append(rounds(80, 1), rounds(20, 3)...), met, unclear},
	} {
		t.Run(name, func(t *testing.T) {
			if most, least := test.seen.atMost(2), test.seen.atLeast(2); most != test.most || least != test.atLeast2 {
				t.Errorf("at most 2: %q, want %q; at least 2: %q, want %q", most, test.most, least, test.atLeast2)
			}
		})
	}
}

// TestInTurns simulates a machine that becomes slower halfway: each round is compared with the one beside it.
func TestInTurns(t *testing.T) {
	f := inTurns("x", "ns", "≤ 2", samples{10, 30, 11, 33, 36}, samples{5, 15, 5, 15, 15}, atMost(2))
	if f.Ratio != 2.2 || f.Value/f.Baseline != 2.2 || f.finalVerdict() != unclear || f.Spread != "2 to 2.4 in 5 rounds" {
		t.Errorf("%+v", f)
	}
	if f := inTurns("x", "ns", "≤ 2", nil, nil, atMost(2)); f.finalVerdict() != missed || f.Value != 0 {
		t.Errorf("nothing measured: %+v", f)
	}
	if f := inTurns("x", "ns", "≤ 2", samples{1}, samples{0}, atMost(2)); f.finalVerdict() != missed {
		t.Errorf("nothing to measure by: %+v", f)
	}
}

func TestExitCode(t *testing.T) {
	good, no, out, near := figure{Met: true}, figure{}, figure{verdict: leftOut}, figure{verdict: unclear}
	for name, test := range map[string]struct {
		figures []figure
		want    int
	}{
		"nothing":           {nil, 0},
		"all met":           {[]figure{good, good}, 0},
		"within the spread": {[]figure{good, near}, 0},
		"one missed":        {[]figure{good, no, near}, 1},
		"one left out":      {[]figure{out, good}, 2},
		"both":              {[]figure{out, good, no}, 3},
	} {
		if got := exitCode(test.figures); got != test.want || meaning(got) == "" {
			t.Errorf("%s: %d (%s), want %d", name, got, meaning(got), test.want)
		}
	}
}

// TestResults checks what programs read: a result within the spread counts as met, and one that was left out does not.
func TestResults(t *testing.T) {
	results := &resultList{}
	for _, f := range []figure{{Met: true}, {}, {verdict: unclear}, {verdict: leftOut}} {
		results.add(f)
	}
	var got []string
	for _, f := range results.figures {
		got = append(got, fmt.Sprintf("%s: %t", f.Verdict, f.Met))
	}
	if text := strings.Join(got, ", "); text != "yes: true, no: false, within the spread: true, left out: false" {
		t.Error(text)
	}
}

func TestBudgets(t *testing.T) {
	for name, test := range map[string]struct {
		rounds samples
		factor float64
		limit  time.Duration
	}{
		"as fast":            {samples{10, 10, 10}, 1, time.Minute},
		"faster":             {samples{5, 4, 5}, 1, time.Minute},
		"half as fast":       {samples{20, 19, 21}, 2, 2 * time.Minute},
		"one slow round":     {samples{10, 10, 90}, 1, time.Minute},
		"busy with all else": {samples{10_000, 10_000, 10_000}, slowest, slowest * time.Minute},
	} {
		b := budgets{factor: factorOf(test.rounds, 10)}
		if b.factor != test.factor || b.limit(time.Minute) != test.limit {
			t.Errorf("%s: factor %v, limit %s", name, b.factor, b.limit(time.Minute))
		}
		if got := b.total([]benchmark{{limit: time.Minute}, {limit: 2 * time.Minute}}); got != 3*test.limit {
			t.Errorf("%s: %s together", name, got)
		}
	}
	if one := (budgets{unbounded: true}); one.limit(time.Minute) != 0 {
		t.Error("a single benchmark can run out of time")
	}
	if b := calibrate(); b.factor < 1 || b.factor > slowest {
		t.Errorf("this machine: %v", b.factor)
	}
}

// TestASingleOneTakesAsLongAsItDoes checks that nothing bounds a benchmark without a limit.
func TestASingleOneTakesAsLongAsItDoes(t *testing.T) {
	b := benchmark{name: "slow", limit: time.Nanosecond, run: func(ctx context.Context, _ *testbed) error {
		if _, bounded := ctx.Deadline(); bounded {
			t.Error("it is bounded")
		}
		return ctx.Err()
	}}
	if err := measure(context.Background(), b, budgets{unbounded: true}.limit(b.limit), "", 1, &resultList{}); err != nil {
		t.Error(err)
	}
}
