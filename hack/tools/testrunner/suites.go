package main

import "time"

// traits is what the runner must know of a package's tests, by its folder. A package that is not listed has none of it.
type traits struct {
	// alone is why it runs by itself: what it measures would be another's doing beside others.
	alone string
	// unraced is why the race detector does not watch it, though it watches the others: for what it would take, it would
	// see nothing.
	unraced string
	// takes is roughly how long it takes in make test. The longest begin first, so that none is waited for at the end.
	takes time.Duration
	// timeout is how long it may take, where the default is too short for it: in make test, and in make test-all.
	timeout, full time.Duration
}

// packageTimeout is how long a package's tests may take, where traits don't say more.
const packageTimeout = 10 * time.Minute

var suites = map[string]traits{

	"internal/test/suites/explore": {
		takes: 3 * time.Minute, timeout: 20 * time.Minute, full: 40 * time.Minute,
		unraced: "each of its thousands of runs makes one reconcile after the other; the other suites run the same code " +
			"at the same time",
	},
	"internal/test/suites/badstart":  {takes: 3 * time.Minute},
	"internal/test/suites/cluster":   {takes: 2 * time.Minute, full: 20 * time.Minute},
	"internal/test/suites/docs":      {takes: 6 * time.Minute, timeout: 20 * time.Minute, full: 20 * time.Minute},
	"internal/test/suites/plugin":    {takes: time.Minute},
	"internal/test/suites/manifests": {takes: 2 * time.Minute},
	"internal/test/suites/restore":   {takes: 2 * time.Minute},
	"internal/test/suites/faults":    {takes: 2 * time.Minute},
	"internal/test/suites/system":    {takes: 2 * time.Minute},
	"internal/test/suites/crash":     {takes: time.Minute},
	"internal/test/suites/bypass":    {takes: time.Minute},
	"internal/test/suites/handover": {
		takes: time.Minute, alone: "it measures how soon another replica takes over, against a bound",
	},
	"internal/test/suites/quota": {takes: time.Minute},
	"internal/test/suites/ports": {
		takes: time.Minute, alone: "it floods the ports of a process, and measures its memory and how soon it answers others",
	},
	"hack/suites/gitops":  {takes: 2 * time.Minute},
	"hack/suites/browser": {takes: 4 * time.Minute, full: 20 * time.Minute},
}

// timeoutIn is how long the package may take.
func (s traits) timeoutIn(m mode) time.Duration {
	if m.effort == "full" {
		return max(packageTimeout, s.timeout, s.full)
	}
	return max(packageTimeout, s.timeout)
}
