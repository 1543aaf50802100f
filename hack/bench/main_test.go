package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestNotMeasured checks that a benchmark that fails is left out, with the reason, and doesn't stop the others from
// being measured, unless the user stops the whole run.
func TestNotMeasured(t *testing.T) {
	half := figure{Name: "half", Unit: "s", Met: true}
	begins := benchmark{name: "endless", limit: time.Second, run: func(ctx context.Context, bed *testbed) error {
		bed.results.add(half)
		<-ctx.Done()
		return ctx.Err()
	}}
	works := benchmark{name: "works", limit: time.Hour, run: func(_ context.Context, bed *testbed) error {
		bed.results.add(figure{Name: "whole", Unit: "s", Met: true})
		return nil
	}}
	lacks := benchmark{name: "lacks", limit: time.Hour, tools: []string{"no-such-tool"}, run: works.run}
	over, cancel := context.WithCancelCause(context.Background())
	cancel(errors.New("stopped by the user"))
	for name, test := range map[string]struct {
		ctx  context.Context
		run  []benchmark
		want string
		why  string
	}{
		"one is cut off": {
			context.Background(), []benchmark{begins, works},
			"half yes, endless: not measured, or not all of it left out, whole yes",
			"endless: context deadline exceeded\nlonger than 1s",
		},
		"one lacks tools": {
			context.Background(), []benchmark{lacks, works}, "lacks: not measured, or not all of it left out, whole yes",
			"lacks: missing: no-such-tool",
		},
		"all are cut off": {
			over, []benchmark{works}, "works: not measured, or not all of it left out", "works: stopped by the user",
		},
	} {
		t.Run(name, func(t *testing.T) {
			results := measureAll(test.ctx, test.run, budgets{factor: 1}, "", 1)
			if code := exitCode(results.figures); code != exitLeftOut {
				t.Errorf("exit code %d, want %d", code, exitLeftOut)
			}
			var report strings.Builder
			results.printLeftOut(&report)
			if !strings.Contains(report.String(), test.why) {
				t.Errorf("the report says %q, want %q", report.String(), test.why)
			}
			var got []string
			for _, f := range results.figures {
				got = append(got, f.Name+" "+f.Verdict)
			}
			if text := strings.Join(got, ", "); text != test.want {
				t.Errorf("the results are %s, want %s", text, test.want)
			}
		})
	}
}

// TestMiddle checks that the round with the median ratio counts, not the medians of both sides.
func TestMiddle(t *testing.T) {
	for name, test := range map[string]struct {
		own, others     samples
		value, baseline float64
	}{
		"one round":              {samples{3}, samples{2}, 3, 2},
		"a machine of two gaits": {samples{11, 24, 13, 23, 23}, samples{10, 20, 10, 20, 10}, 24, 20},
		// The worse ratio counts, so that a goal isn't met by half of the rounds.
		"two rounds": {samples{9, 8}, samples{10, 4}, 8, 4},
	} {
		t.Run(name, func(t *testing.T) {
			if value, baseline := middle(test.own, test.others); value != test.value || baseline != test.baseline {
				t.Errorf("%v by %v, want %v by %v", value, baseline, test.value, test.baseline)
			}
		})
	}
}

// TestMedian checks that the median of two values is their mean.
func TestMedian(t *testing.T) {
	for want, values := range map[float64]samples{0: nil, 7: {7}, 3: {4, 2}, 5: {9, 5, 1}, 2.5: {4, 3, 1, 2}} {
		if got := values.median(); got != want {
			t.Errorf("the median of %v is %v, want %v", values, got, want)
		}
	}
}
