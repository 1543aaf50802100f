package explore_test

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/effort"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// workers is how many runs take place at a time: they mostly wait for the API server.
const workers = 4

// never is the number of a stage that no scenario has.
const never = -1

var (
	verbose = flag.Bool("explore.trace", false, "print what happened in every run that fails")
	quick   = flag.Bool("explore.quick", false, "end a scenario at the first plans that fail")
)

func TestExplore(t *testing.T) {
	log.SetLogger(logr.Discard())
	cp := install.ControlPlane(t, controlplane.Options{})
	l := &testbed{cp: cp, policy: fixture.Policy("nexuscommerce"), faults: faults}
	sum := &tally{}
	for _, name := range slices.Sorted(maps.Keys(scenarios)) {
		t.Run(name, func(t *testing.T) {
			e := &explorer{t: t, testbed: l, name: name, scenario: scenarios[name], tally: sum}
			e.explore()
		})
	}
	t.Log(sum)
}

// explorer explores one scenario.
type explorer struct {
	t        *testing.T
	testbed  *testbed
	name     string
	scenario scenario
	tally    *tally
}

func (e *explorer) explore() {
	dry := e.try([]plan{{wake: never}})[0]
	if writes := len(dry.stageOf); writes < e.scenario.writes {
		e.t.Errorf("%d writes, where at least %d were to be expected:\n%s", writes, e.scenario.writes,
			strings.Join(dry.trace, "\n"))
	}
	if e.scenario.pairs {
		e.pairs(dry)
		return
	}
	e.try(sampled(singles(dry)))
	e.staleCaches()
	if slices.ContainsFunc(e.scenario.stages, func(s stage) bool { return s.race != nil }) {
		e.races()
	}
}

// singles returns the plans with one fault: every fault at every write. After the last stage, a controller that is down
// until the next one is the same as a controller that stops.
func singles(dry outcome) []plan {
	var plans []plan
	for i, number := range dry.stageOf {
		for _, fault := range slices.Sorted(maps.Keys(faults)) {
			at := map[int]string{i + 1: fault}
			switch {
			case strings.HasPrefix(fault, down) && number == dry.stages:
				continue
			case fault != asleep:
				plans = append(plans, plan{faults: at, wake: never})
				continue
			}
			for wake := number; wake <= dry.stages; wake++ {
				plans = append(plans, plan{faults: at, wake: wake})
			}
		}
	}
	return plans
}

// sampled returns the plans that are played: all of them in full effort, otherwise the same part of them in every run.
// The steps are primes and no multiples of the number of faults, so that every fault still meets some writes of every
// scenario.
func sampled(plans []plan) []plan { return effort.Sample(plans, effort.Pick(101, 17, 1)) }

// crashes are the first faults that all others are combined with.
var crashes = []string{"stop before", "stop after", "lost reply"}

// seconds returns the plans with another fault after the first one, at the writes that the first one has led to.
func seconds(first outcome) []plan {
	at, _ := first.plan.first()
	var plans []plan
	for later := at + 1; later <= len(first.stageOf); later++ {
		for _, fault := range slices.Sorted(maps.Keys(faults)) {
			if fault != asleep {
				plans = append(plans, plan{faults: map[int]string{at: first.plan.faults[at], later: fault}, wake: never})
			}
		}
	}
	return plans
}

// pairs plays the crashes after the first stage, and then each of them with every fault at every later write.
func (e *explorer) pairs(dry outcome) {
	crashed := e.try(slices.DeleteFunc(singles(dry), func(p plan) bool {
		at, fault := p.first()
		return !slices.Contains(crashes, fault) || dry.stageOf[at-1] == 0
	}))
	var pairs []plan
	for _, first := range crashed {
		pairs = append(pairs, seconds(first)...)
	}
	e.try(sampled(pairs))
}

func (e *explorer) staleCaches() {
	probing := e.try([]plan{{wake: never, probing: true}})[0]
	e.tally.add(e.name, "stale, no write", probing.probed)
	var plans []plan
	for _, s := range probing.stale {
		plans = append(plans, plan{wake: never, stale: &s})
	}
	e.try(sampled(plans))
}

func (e *explorer) races() {
	for plans := []plan{{wake: never, races: true}}; len(plans) > 0; {
		var more []plan
		for _, o := range e.try(plans) {
			more = append(more, o.forks()...)
		}
		plans = sampled(more)
	}
}

// try plays the scenario with each of the plans.
func (e *explorer) try(plans []plan) []outcome {
	if len(plans) == 0 {
		return nil
	}
	began := time.Now()
	outcomes := make([]outcome, len(plans))
	var group sync.WaitGroup
	room := make(chan struct{}, workers)
	for i := range plans {
		room <- struct{}{}
		group.Go(func() {
			defer func() { <-room }()
			outcomes[i] = e.testbed.play(e.t, e.scenario, plans[i])
		})
	}
	group.Wait()
	e.t.Logf("%d plans, such as %s: %s", len(plans), plans[0], time.Since(began).Round(time.Millisecond))
	for _, o := range outcomes {
		e.tally.add(e.name, o.plan.column(), 1)
		e.report(o)
	}
	return outcomes
}

func (e *explorer) report(o outcome) {
	if len(o.failures) == 0 {
		return
	}
	text := fmt.Sprintf("%s:\n  %s", o.plan, strings.Join(o.failures, "\n  "))
	if *verbose {
		text += "\n    " + strings.Join(o.trace, "\n    ")
	}
	e.t.Error(text)
	if *quick {
		e.t.FailNow()
	}
}
