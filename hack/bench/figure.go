package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// figure is one measured value, with the value that it is compared with.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Unit is blank if nothing was measured.
	Unit string `json:"unit"`
	// Baseline is the value that Value is compared with, from the same run and in the same unit; 0 if there is none.
	Baseline float64 `json:"baseline"`
	// Ratio is Value divided by Baseline; 0 if there is no baseline.
	Ratio float64 `json:"ratio"`
	// Goal is for people. Met reports whether the value reaches it.
	Goal string `json:"goal"`
	Met  bool   `json:"met"`
	// Verdict says more than Met, which is true if the goal is met or within the spread.
	Verdict string `json:"verdict"`
	// Spread is the lowest and the highest round: of the ratio, if rounds have one.
	Spread string `json:"spread,omitempty"`
	// Reason says why nothing was measured.
	Reason string `json:"reason,omitempty"`

	// verdict is blank if Met says everything.
	verdict verdict
}

// finalVerdict returns the verdict on the figure, which Met implies unless it is set.
func (f figure) finalVerdict() verdict {
	switch {
	case f.verdict != "":
		return f.verdict
	case f.Met:
		return met
	}
	return missed
}

// resultList keeps the figures of a run.
type resultList struct{ figures []figure }

func (l *resultList) add(f figure) {
	f.Verdict = string(f.finalVerdict())
	f.Met = f.finalVerdict() == met || f.finalVerdict() == unclear
	if f.Baseline > 0 && f.Ratio == 0 { // An event may arrive before the response to the write.
		f.Ratio = f.Value / f.Baseline
	}
	l.figures = append(l.figures, f)
}

// miss adds a row for a benchmark that measured nothing, so that a missing figure isn't mistaken for a good one.
func (l *resultList) miss(b benchmark, why error) {
	l.add(figure{
		Name: b.name + ": not measured, or not all of it", Goal: "measured", verdict: leftOut, Reason: why.Error(),
	})
}

// printLeftOut prints what was not measured, and why.
func (l *resultList) printLeftOut(w io.Writer) {
	heading := "\nLEFT OUT\n"
	for _, f := range l.figures {
		if f.finalVerdict() == leftOut {
			_, _ = fmt.Fprintf(w, "%s  %s: %s\n", heading, strings.TrimSuffix(f.Name, ": not measured, or not all of it"),
				f.Reason)
			heading = ""
		}
	}
}

// print writes a table of the figures.
func (l *resultList) print(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "\nFIGURE\tVALUE\tBASELINE\tRATIO\tSPREAD\tGOAL\tMET")
	for _, f := range l.figures {
		value, baseline, ratio := "", "", ""
		if f.Unit != "" {
			value = fmt.Sprintf("%.4g %s", f.Value, f.Unit)
		}
		if f.Baseline != 0 {
			baseline = fmt.Sprintf("%.4g %s", f.Baseline, f.Unit)
		}
		if f.Ratio != 0 {
			ratio = fmt.Sprintf("%.2f", f.Ratio)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			f.Name, value, baseline, ratio, f.Spread, f.Goal, f.finalVerdict())
	}
	_ = table.Flush()
}

// save writes the figures as JSON.
func (l *resultList) save(path string) error {
	content, err := json.MarshalIndent(l.figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(content, '\n'), 0o644)
}

// samples are the values of several rounds.
type samples []float64

func (s samples) sorted() samples {
	sorted := slices.Clone(s)
	slices.Sort(sorted)
	return sorted
}

// median returns the value in the middle, or the mean of the two in the middle.
func (s samples) median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := s.sorted()
	return (sorted[(len(s)-1)/2] + sorted[len(s)/2]) / 2
}

func (s samples) quantile(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	return s.sorted()[int(q*float64(len(s)-1)+0.5)]
}

func (s samples) max() float64 { return s.quantile(1) }

func (s samples) spread() string { return fmt.Sprintf("%.3g to %.3g", s.quantile(0), s.quantile(1)) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
