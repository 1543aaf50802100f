package explore_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// column returns the column in which a plan is counted.
func (p plan) column() string {
	switch {
	case p.stale != nil:
		return "stale, writes"
	case p.races:
		return "turns"
	case len(p.faults) > 1:
		return "pairs"
	}
	for _, fault := range p.faults {
		return fault
	}
	return "no fault"
}

// tally counts the points that were covered, by scenario and column.
type tally struct {
	counts map[string]map[string]int
}

func (t *tally) add(name, column string, points int) {
	if t.counts == nil {
		t.counts = map[string]map[string]int{}
	}
	if t.counts[name] == nil {
		t.counts[name] = map[string]int{}
	}
	t.counts[name][column] += points
}

func (t *tally) String() string {
	columns := slices.Concat(slices.Sorted(maps.Keys(faults)),
		[]string{"pairs", "turns", "stale, no write", "stale, writes"})
	total := 0
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(t.counts)) {
		line := fmt.Sprintf("%-50s", name)
		for _, column := range columns {
			line += fmt.Sprintf("%*d", len(column)+2, t.counts[name][column])
			total += t.counts[name][column]
		}
		lines = append(lines, line)
	}
	return fmt.Sprintf("explored %d points: %d scenarios\n%50s  %s\n%s", total, len(t.counts), "",
		strings.Join(columns, "  "), strings.Join(lines, "\n"))
}
