package main

import "time"

// traits is what the runner must know about a package's tests, by folder. A package that is not listed has none of it.
type traits struct {
	// alone is why the package runs by itself: other packages would disturb what it measures.
	alone string
	// unraced is why the race detector does not watch the package although it watches others.
	unraced string
	// tests is how many of its parallel tests run at a time (go test's -parallel), where most wait most of the time. The
	// default is one a core.
	tests int
	// takes is roughly how long the package takes in make test. The longest start first, so that none is waited for at
	// the end.
	takes time.Duration
	// timeout is how long the package may take in make test, if the default is too short; full is the same for make
	// test-all.
	timeout, full time.Duration
}

// packageTimeout is how long a package's tests may take by default.
const packageTimeout = 10 * time.Minute

var suites = map[string]traits{

	"internal/test/suites/explore": {
		takes: 6 * time.Minute, timeout: 20 * time.Minute, full: 40 * time.Minute,
		unraced: "each of its thousands of runs makes one reconcile after the other; the other suites run the same code " +
			"at the same time",
	},
	"controllers/apikey":               {takes: 2 * time.Minute, full: 20 * time.Minute},
	"internal/test/suites/badstart":    {takes: 2 * time.Minute},
	"internal/test/suites/cluster":     {takes: 2 * time.Minute, full: 20 * time.Minute},
	"internal/test/suites/docs":        {takes: 5 * time.Minute},
	"internal/test/suites/plugin":      {takes: 90 * time.Second},
	"internal/test/suites/manifests":   {takes: 2 * time.Minute},
	"internal/test/suites/restore":     {takes: 90 * time.Second},
	"internal/test/suites/faults":      {takes: 4 * time.Minute},
	"internal/test/suites/gitops":      {takes: 2 * time.Minute},
	"internal/test/suites/system":      {takes: 2 * time.Minute},
	"internal/test/suites/crash":       {takes: 30 * time.Second},
	"internal/test/suites/bypass":      {takes: 5 * time.Minute, full: 20 * time.Minute, tests: 8},
	"internal/test/suites/conformance": {takes: 2 * time.Minute},
	"internal/test/suites/handover": {
		takes: time.Minute, alone: "it measures how soon another replica takes over, against a bound",
	},
	"internal/test/suites/quota": {takes: time.Minute},
	"internal/test/suites/ports": {
		takes: time.Minute, alone: "it floods the ports of a process, and measures its memory and how soon it answers others",
	},
	"hack/suites/gitops":  {takes: time.Minute},
	"hack/suites/guides":  {takes: time.Minute},
	"hack/suites/helm":    {takes: time.Minute},
	"internal/usage":      {takes: time.Minute},
	"hack/suites/browser": {takes: 4 * time.Minute, full: 20 * time.Minute},
}

// timeoutIn returns how long the package may take in a mode.
func (s traits) timeoutIn(m mode) time.Duration {
	if m.effort == "full" {
		return max(packageTimeout, s.timeout, s.full)
	}
	return max(packageTimeout, s.timeout)
}
