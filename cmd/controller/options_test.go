package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/flags"
)

// parse parses flags as the program does.
func parse(arguments ...string) error { return flags.Parse(&options{}, arguments...) }

func TestDefaults(t *testing.T) {
	var o options
	if err := flags.Parse(&o); err != nil {
		t.Fatal(err)
	}
	flags.Values{
		"--namespace":                   {o.namespace, "apikey-system"},
		"--metrics-bind-address":        {o.metricsAddress, ":8080"},
		"--health-probe-bind-address":   {o.healthAddress, ":8081"},
		"--leader-elect":                {o.leaderElect, true},
		"--leader-elect-lease-duration": {o.lease.duration, 10 * time.Second},
		"--leader-elect-renew-deadline": {o.lease.deadline, 7 * time.Second},
		"--leader-elect-retry-period":   {o.lease.retry, time.Second},
		"--self-signed-certificates":    {o.selfSigned, false},
		"--create-canary":               {o.createCanary, false},
		"--startup-timeout":             {o.startupTimeout, 30 * time.Second},
		"--token-format-live":           {string(o.formats()[keysv1alpha1.EnvironmentLive]), "nxc_live_"},
		"--token-format-test":           {string(o.formats()[keysv1alpha1.EnvironmentTest]), "nxc_test_"},
	}.Check(t)
	if want := []time.Duration{168 * time.Hour, 24 * time.Hour}; !slices.Equal(o.warnings, want) {
		t.Errorf("--expiry-warnings is %v by default, want %v", o.warnings, want)
	}
}

func TestAccepted(t *testing.T) {
	flags.Accepted(t, parse, map[string][]string{
		"other formats":       {"--token-format-live=acme_", "--token-format-test=acme_sandbox_"},
		"the shortest format": {"--token-format-live=a_"},
		"the longest format":  {"--token-format-live=" + strings.Repeat("a", 31) + "_"},
		"no metrics":          {"--metrics-bind-address=0"},
		"no leader election":  {"--leader-elect=false"},
		"longer lease times": {
			"--leader-elect-lease-duration=1m", "--leader-elect-renew-deadline=59s", "--leader-elect-retry-period=5s",
		},
		"the shortest lease": {
			"--leader-elect-lease-duration=1s", "--leader-elect-renew-deadline=900ms", "--leader-elect-retry-period=100ms",
		},
		"no warnings":           {"--expiry-warnings="},
		"one warning":           {"--expiry-warnings=1h30m"},
		"warnings and spaces":   {"--expiry-warnings=168h, 24h,"},
		"the shortest of those": {"--expiry-warnings=1ns"},
	})
}

// TestRefused checks that the error names the invalid flag, and no other.
func TestRefused(t *testing.T) {
	flags.Refusals{
		"no namespace":             {"--namespace=", "--namespace"},
		"no lease":                 {"--leader-elect-lease-duration=0", "--leader-elect-lease-duration"},
		"half a second of a lease": {"--leader-elect-lease-duration=10500ms", "--leader-elect-lease-duration"},
		"a lease that others take before it is given up": {
			"--leader-elect-renew-deadline=10s", "--leader-elect-renew-deadline",
		},
		"no retry":                   {"--leader-elect-retry-period=0", "--leader-elect-retry-period"},
		"a retry that is late":       {"--leader-elect-retry-period=6s", "--leader-elect-retry-period"},
		"no live format":             {"--token-format-live=", "--token-format-live"},
		"no test format":             {"--token-format-test=", "--token-format-test"},
		"a format's end":             {"--token-format-live=nxc_live", "--token-format-live"},
		"a format's end, test":       {"--token-format-test=nxc_test", "--token-format-test"},
		"a hyphen in a format":       {"--token-format-live=nxc-live_", "--token-format-live"},
		"a line break in a format":   {"--token-format-test=nxc\n_", "--token-format-test"},
		"too short a format":         {"--token-format-live=_", "--token-format-live"},
		"too long a format":          {"--token-format-live=" + strings.Repeat("a", 32) + "_", "--token-format-live"},
		"formats alike":              {"--token-format-test=nxc_live_", "--token-format-live and --token-format-test"},
		"a warning that is none":     {"--expiry-warnings=soon", "--expiry-warnings"},
		"one of several is none":     {"--expiry-warnings=24h,7d", "--expiry-warnings"},
		"a warning without a unit":   {"--expiry-warnings=24", "--expiry-warnings"},
		"a warning at the end":       {"--expiry-warnings=0s", "--expiry-warnings"},
		"a warning after the end":    {"--expiry-warnings=-24h", "--expiry-warnings"},
		"less than no time":          {"--startup-timeout=-1s", "--startup-timeout"},
		"neither yes nor no":         {"--leader-elect=maybe", "invalid boolean value \"maybe\" for -leader-elect"},
		"a flag that isn't there":    {"--no-such-flag", "flag provided but not defined: -no-such-flag"},
		"formats alike and both bad": {"--token-format-live=x --token-format-test=x", "--token-format-"},
	}.Check(t, parse)
}

func TestEveryFaultIsNamed(t *testing.T) {
	flags.AllNamed(t, parse("--namespace=", "--token-format-live=a", "--token-format-test=b", "--expiry-warnings=c"),
		"--namespace", "--token-format-live", "--token-format-test", "--expiry-warnings")
}
