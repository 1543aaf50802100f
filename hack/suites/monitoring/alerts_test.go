// Package monitoring_test checks config/prometheus: promtool runs the tests of its alerts, each alert has a section in
// docs/alerts.md, and the programs have the metrics that alerts and the dashboard query.
package monitoring_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// read returns a file of the repository.
func read(t *testing.T, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(append([]string{controlplane.Root()}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// decode decodes a manifest strictly: an unknown field is an error.
func decode(t *testing.T, manifest string, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(manifest), into); err != nil {
		t.Fatal(err)
	}
}

// rules returns the rules of config/prometheus.
func rules(t *testing.T) monitoringv1.PrometheusRuleSpec {
	t.Helper()
	var rule monitoringv1.PrometheusRule
	decode(t, read(t, "config", "prometheus", "alerts.yaml"), &rule)
	return rule.Spec
}

// alerts returns all alerts.
func alerts(t *testing.T) []monitoringv1.Rule {
	t.Helper()
	var found []monitoringv1.Rule
	for _, group := range rules(t).Groups {
		found = append(found, group.Rules...)
	}
	if len(found) < 15 {
		t.Fatalf("only %d alerts", len(found))
	}
	return found
}

var heading = regexp.MustCompile(`(?m)^### (\w+)$`)

// TestEveryAlertHasASection checks that each alert has a severity, a summary and a link to its section, and that the
// page has no section without an alert.
func TestEveryAlertHasASection(t *testing.T) {
	const section = "https://github.com/nexuscommerce/apikey-operator/blob/main/docs/alerts.md#"
	sections := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(read(t, "docs", "alerts.md"), -1) {
		sections[match[1]] = true
	}
	for _, alert := range alerts(t) {
		if !sections[alert.Alert] {
			t.Errorf("docs/alerts.md has no section %s", alert.Alert)
		}
		delete(sections, alert.Alert)
		if want := section + strings.ToLower(alert.Alert); alert.Annotations["runbook_url"] != want {
			t.Errorf("%s leads to %s, not %s", alert.Alert, alert.Annotations["runbook_url"], want)
		}
		if severity := alert.Labels["severity"]; severity != "critical" && severity != "warning" {
			t.Errorf("%s has the severity %q", alert.Alert, severity)
		}
		for _, annotation := range []string{"summary", "description"} {
			if alert.Annotations[annotation] == "" {
				t.Errorf("%s has no %s", alert.Alert, annotation)
			}
		}
	}
	for section := range sections {
		t.Errorf("docs/alerts.md has a section %s, and there is no such alert", section)
	}
}

// TestAlertsFire checks the alerts with promtool and runs testdata/alerts.yaml, where each must fire at least once.
func TestAlertsFire(t *testing.T) {
	promtool := need.Program(t, "promtool")
	folder := t.TempDir()
	spec, err := yaml.Marshal(rules(t))
	if err != nil {
		t.Fatal(err)
	}
	cases, err := os.ReadFile(filepath.Join("testdata", "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"rules.yaml": spec, "cases.yaml": cases} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"check", "rules", "rules.yaml"}, {"test", "rules", "cases.yaml"}} {
		command := exec.CommandContext(t.Context(), promtool, args...)
		command.Dir = folder
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}

	var tests struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string `json:"alertname"`
				ExpAlerts []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	if err := yaml.Unmarshal(cases, &tests); err != nil {
		t.Fatal(err)
	}
	fires, rests := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, alert := range test.AlertRuleTest {
			if len(alert.ExpAlerts) > 0 {
				fires[alert.Alertname] = true
			} else {
				rests[alert.Alertname] = true
			}
		}
	}
	for _, alert := range alerts(t) {
		if !fires[alert.Alert] || !rests[alert.Alert] {
			t.Errorf("testdata/alerts.yaml must have a case in which %s fires, and one in which it does not", alert.Alert)
		}
	}
}
