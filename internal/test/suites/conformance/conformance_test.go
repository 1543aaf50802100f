package conformance_test

import (
	"strings"
	"sync"
	"testing"
)

// TestConformance asks every set-up every question, and compares the answers with the table.
func TestConformance(t *testing.T) {
	e := newEnvironment(t)
	answers := table{}
	var mu sync.Mutex
	sideBySide(t, func(run func(string, func(*testing.T))) {
		for _, u := range columns() {
			run(u.name, func(t *testing.T) {
				u.skipByDay(t)
				cells := map[string]string{ran: u.version(t)}
				s := e.start(t, u)
				for _, r := range rows() {
					cells[r.question] = r.ask(s)
					for _, fault := range s.faults {
						t.Errorf("%s: %s", r.question, fault)
					}
					s.faults = nil
				}
				mu.Lock()
				defer mu.Unlock()
				answers[u.title] = cells
			})
		}
	})
	answers.check(t)
}

// TestMutants takes a protection out of each guide's configuration, and checks that a row sees it.
func TestMutants(t *testing.T) {
	e := newEnvironment(t)
	sideBySide(t, func(run func(string, func(*testing.T))) {
		for _, u := range columns() {
			for _, m := range u.mutants {
				run(u.name+" without "+strings.TrimSpace(m.without[0]), func(t *testing.T) {
					u.skipByDay(t)
					s := e.start(t, u, m.without)
					s.faults = nil
					if cell := rowOf(m.question).ask(s); len(s.faults) == 0 {
						t.Errorf("%s: %s, and nothing is wrong with that", m.question, cell)
					}
				})
			}
		}
	})
}

// sideBySide runs tests at the same time, even if there are more than processors: they mostly wait.
func sideBySide(t *testing.T, all func(run func(name string, test func(*testing.T)))) {
	t.Helper()
	var ended sync.WaitGroup
	all(func(name string, test func(*testing.T)) {
		ended.Go(func() { t.Run(name, test) })
	})
	ended.Wait()
}
