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

// mode is how much a run does.
type mode struct {
	name   string
	target string // the make target
	// effort is what suites that repeat or explore are told.
	effort string
	// race is where the race detector watches.
	race race
	// limit ends the whole run: it is far above what a run takes, and there so that a hang ends.
	limit time.Duration
	// pass is the part of the suites that a quick run has, by folder, with go test's -run; nil is all of them.
	pass map[string]string
	// modules has the tests of the modules below hack run too; browser and fuzz, what a browser and fuzzing find.
	modules, browser, fuzz bool
}

// race is a choice of packages for the race detector.
type race string

// The choices. The race detector has every package compiled anew and slows its tests down several times, so make test
// leaves it to make test-all, which CI runs.
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
}

// modeOf returns a mode by its name, with the race detector as RACE asks for: blank is nowhere, and any flag
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

// parallel is how many suites run side by side: more than there are cores, because most of them wait most of the time.
func parallel() int { return max(2, min(2*runtime.NumCPU(), 8)) }

// variable sets the effort for the tests.
func (m mode) variable() string { return effort.Variable + "=" + m.effort }
