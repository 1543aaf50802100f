package main

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/effort"
)

// mode says how much a run does.
type mode struct {
	name   string
	target string // the make target
	// effort is how much the suites that repeat or explore do.
	effort string
	// race says which packages the race detector watches.
	race race
	// limit ends the whole run. It is far above what a run takes, so only a hang reaches it.
	limit time.Duration
	// pass has, by folder, the tests of the suites that a quick run includes, as go test's -run; nil means all.
	pass map[string]string
	// modules includes the tests of the modules below hack; browser and fuzz include those that need a browser, and
	// fuzzing.
	modules, browser, fuzz bool
	// nightly brings what only such a run brings, and leaves unit tests out.
	nightly bool
}

// race is a choice of packages for the race detector.
type race string

// The race detector compiles every package again and slows its tests down several times, so make test leaves it to make
// test-all, which CI runs.
const (
	raceOff race = "off"
	raceAll race = "all"
)

const normal = "normal"

var modes = map[string]mode{
	"quick": {
		target: "test-quick", effort: "quick", race: raceOff, limit: 15 * time.Minute,
		pass: map[string]string{"api/v1alpha1": "", "internal/test/suites/system": "^TestLifeOfAKey$"},
	},
	normal: {target: "test", effort: normal, race: raceOff, limit: 45 * time.Minute, modules: true},
	"full": {
		target: "test-all", effort: "full", race: raceAll, limit: 80 * time.Minute, modules: true, browser: true, fuzz: true,
	},
	"nightly": {
		target: "test-nightly", effort: "full", race: raceOff, limit: time.Hour, nightly: true,
		pass: map[string]string{
			"internal/test/suites/bypass": "", "internal/test/suites/conformance": "",
			"internal/test/suites/handover": "^TestUpgrade$",
		},
	},
}

// modeOf returns a mode by its name. Its race detector is set by RACE: a blank turns it off, and any flag turns it on
// everywhere.
func modeOf(name, asked string) (mode, error) {
	m, ok := modes[name]
	if !ok {
		return mode{}, fmt.Errorf("-mode=%s: must be one of %s", name, strings.Join(slices.Sorted(maps.Keys(modes)), ", "))
	}
	m.name = name
	switch asked {
	case "auto":
	case "":
		m.race = raceOff
	default:
		m.race = raceAll
	}
	return m, nil
}

// parallel returns how many suites run at a time: more than there are cores, because most suites wait most of the time.
func parallel() int { return max(2, min(2*runtime.NumCPU(), 8)) }

// variable returns the environment variable that sets the tests' effort.
func (m mode) variable() string { return effort.Variable + "=" + m.effort }
