package monitoring_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// target has the labels that Prometheus adds to every series by its configuration. Where it has the series of several
// clusters, cluster says which.
var target = []string{"cluster", "container", "endpoint", "instance", "job", "namespace", "pod", "service"}

// kubeStateMetrics are metrics that queries take from kube-state-metrics.
var kubeStateMetrics = []string{"kube_deployment_spec_replicas", "kube_deployment_status_replicas_available"}

// query is the expression of an alert or a panel.
type query struct {
	name, expr string
}

// dashboard is a Grafana dashboard's panels.
type dashboard struct {
	Title  string
	UID    string
	Panels []struct {
		ID      int
		Type    string
		Title   string
		Targets []struct{ RefID, Expr string }
	}
}

// queries returns the queries of all alerts and panels.
func queries(t *testing.T) []query {
	t.Helper()
	var found []query
	for _, alert := range alerts(t) {
		found = append(found, query{alert.Alert, alert.Expr.String()})
	}
	var board dashboard
	if err := json.Unmarshal([]byte(read(t, "config", "prometheus", "dashboard.json")), &board); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	panels := 0
	for _, panel := range board.Panels {
		if ids[panel.ID] {
			t.Errorf("two panels have the id %d", panel.ID)
		}
		ids[panel.ID] = true
		if panel.Type == "row" {
			continue
		}
		panels++
		if len(panel.Targets) == 0 {
			t.Errorf("the panel %s asks for nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			found = append(found, query{"panel " + panel.Title, strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")})
		}
	}
	if panels < 10 || board.UID == "" {
		t.Errorf("only %d panels", panels)
	}
	return found
}

// TestEveryQueryHasMetrics starts the programs, and checks that they have each metric, label and label value that a
// query names.
func TestEveryQueryHasMetrics(t *testing.T) {
	shown := scrape(t)
	documented := read(t, "docs", "verifier.md") + read(t, "docs", "controller.md")
	for _, q := range queries(t) {
		t.Run(q.name, func(t *testing.T) {
			for _, fault := range shown.faults(q.expr, documented) {
				t.Errorf("%s: %s", q.expr, fault)
			}
		})
	}
	// These show that the test can fail.
	for expr, want := range map[string]string{
		"rate(apikey_verifier_decision_total[5m])":           "no metric apikey_verifier_decision_total",
		`apikey_controller_keys{status="stalled"}`:           "apikey_controller_keys has no label status",
		`apikey_controller_keys{state="stuck"}`:              "apikey_controller_keys has no state stuck",
		"sum by (tenant) (apikey_controller_keys)":           "apikey_controller_keys has no label tenant",
		"max(apikey_controller_oldest_waiting_seconds) > > ": "1:",
	} {
		if faults := shown.faults(expr, documented); len(faults) == 0 || !strings.Contains(faults[0], want) {
			t.Errorf("%s: %q, want %q", expr, faults, want)
		}
	}
}

// TestClustersStayApart checks that no query aggregates the label cluster away or joins series of two clusters, and
// that every panel shows the chosen clusters only.
func TestClustersStayApart(t *testing.T) {
	for _, q := range queries(t) {
		for _, fault := range joins(t, q.expr) {
			t.Errorf("%s: %s: %s", q.name, q.expr, fault)
		}
		if !strings.HasPrefix(q.name, "panel ") {
			continue
		}
		if selectors, chosen := strings.Count(q.expr, "apikey_")+strings.Count(q.expr, "_master_status{")+
			strings.Count(q.expr, "_reconcile_total{")+strings.Count(q.expr, "_resident_memory_bytes{"),
			strings.Count(q.expr, `{cluster=~"$cluster"`); selectors != chosen {
			t.Errorf("%s: %s has %d metrics, and $cluster %d times", q.name, q.expr, selectors, chosen)
		}
	}
	for _, expr := range []string{ // These show that the test can fail.
		"sum(up)", "max by (pod) (up)", "max without (cluster) (up)", "up * on (instance) up", "up / ignoring (cluster) up",
	} {
		if len(joins(t, expr)) == 0 {
			t.Errorf("%s passes", expr)
		}
	}
}

// joins returns where an expression doesn't keep clusters apart. Without any label (on ()), it asks whether there is
// anything at all.
func joins(t *testing.T, expr string) []string {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	var faults []string
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.AggregateExpr:
			if slices.Contains(n.Grouping, "cluster") == n.Without {
				faults = append(faults, n.Op.String()+" aggregates cluster away")
			}
		case *parser.BinaryExpr:
			m := n.VectorMatching
			if m != nil && (m.On && len(m.MatchingLabels) > 0 || !m.On) && slices.Contains(m.MatchingLabels, "cluster") != m.On {
				faults = append(faults, n.Op.String()+" joins clusters")
			}
		}
		return nil
	})
	return faults
}

// faults returns what a query asks for that doesn't exist.
func (s series) faults(expr, documented string) []string {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return []string{err.Error()}
	}
	var faults []string
	parser.Inspect(parsed, func(node parser.Node, path []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		known, ok := s[selector.Name]
		if slices.Contains(kubeStateMetrics, selector.Name) {
			return nil
		}
		if !ok {
			faults = append(faults, "no metric "+selector.Name)
			return nil
		}
		for _, matcher := range selector.LabelMatchers {
			if matcher.Name != model.MetricNameLabel {
				faults = append(faults, known.faults(selector.Name, matcher, documented)...)
			}
		}
		for _, above := range path {
			if aggregate, ok := above.(*parser.AggregateExpr); ok && !aggregate.Without {
				for _, label := range aggregate.Grouping {
					if !known.has(label) {
						faults = append(faults, fmt.Sprintf("%s has no label %s", selector.Name, label))
					}
				}
			}
		}
		return nil
	})
	return faults
}

// faults returns what is wrong with a matcher of a metric. Label values that don't occur because nothing of the kind
// has happened are looked up in the program's documentation.
func (k labelled) faults(metric string, matcher *labels.Matcher, documented string) []string {
	if !k.has(matcher.Name) {
		return []string{fmt.Sprintf("%s has no label %s", metric, matcher.Name)}
	}
	if slices.Contains(target, matcher.Name) {
		return nil
	}
	var faults []string
	for value := range strings.SplitSeq(matcher.Value, "|") { // A regular expression is a list of values here.
		if !k[matcher.Name][value] && !strings.Contains(documented, "`"+value+"`") {
			faults = append(faults, fmt.Sprintf("%s has no %s %s", metric, matcher.Name, value))
		}
	}
	return faults
}
