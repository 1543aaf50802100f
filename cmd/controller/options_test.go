package main

import (
	"flag"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// parse reads flags as the command does.
func parse(arguments ...string) (options, error) {
	var o options
	flags := flag.NewFlagSet("apikey-controller", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	o.AddFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	err := o.Complete()
	return o, err
}

func TestDefaults(t *testing.T) {
	o, err := parse()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ got, want any }{
		"--namespace":                 {o.namespace, "apikey-system"},
		"--metrics-bind-address":      {o.metricsAddress, ":8080"},
		"--health-probe-bind-address": {o.healthAddress, ":8081"},
		"--leader-elect":              {o.leaderElect, true},
		"--startup-timeout":           {o.startupTimeout, 30 * time.Second},
		"--token-format-live":         {string(o.formats()[keysv1alpha1.EnvironmentLive]), "nxc_live_"},
		"--token-format-test":         {string(o.formats()[keysv1alpha1.EnvironmentTest]), "nxc_test_"},
	} {
		if test.got != test.want {
			t.Errorf("%s is %v by default, want %v", name, test.got, test.want)
		}
	}
	if want := []time.Duration{168 * time.Hour, 24 * time.Hour}; !slices.Equal(o.warnings, want) {
		t.Errorf("--expiry-warnings is %v by default, want %v", o.warnings, want)
	}
}

func TestAccepted(t *testing.T) {
	for name, arguments := range map[string][]string{
		"other formats":         {"--token-format-live=acme_", "--token-format-test=acme_sandbox_"},
		"the shortest format":   {"--token-format-live=a_"},
		"the longest format":    {"--token-format-live=" + strings.Repeat("a", 31) + "_"},
		"no metrics":            {"--metrics-bind-address=0"},
		"no leader election":    {"--leader-elect=false"},
		"no warnings":           {"--expiry-warnings="},
		"one warning":           {"--expiry-warnings=1h30m"},
		"warnings and spaces":   {"--expiry-warnings=168h, 24h,"},
		"the shortest of those": {"--expiry-warnings=1ns"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parse(arguments...); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRefused checks that the error names the flag that is wrong, and none that isn't.
func TestRefused(t *testing.T) {
	for name, test := range map[string]struct {
		arguments []string
		culprit   string
	}{
		"no namespace":               {[]string{"--namespace="}, "--namespace"},
		"no live format":             {[]string{"--token-format-live="}, "--token-format-live"},
		"no test format":             {[]string{"--token-format-test="}, "--token-format-test"},
		"a format's end":             {[]string{"--token-format-live=nxc_live"}, "--token-format-live"},
		"a format's end, test":       {[]string{"--token-format-test=nxc_test"}, "--token-format-test"},
		"a hyphen in a format":       {[]string{"--token-format-live=nxc-live_"}, "--token-format-live"},
		"a line break in a format":   {[]string{"--token-format-test=nxc\n_"}, "--token-format-test"},
		"too short a format":         {[]string{"--token-format-live=_"}, "--token-format-live"},
		"too long a format":          {[]string{"--token-format-live=" + strings.Repeat("a", 32) + "_"}, "--token-format-live"},
		"formats alike":              {[]string{"--token-format-test=nxc_live_"}, "--token-format-live and --token-format-test"},
		"a warning that is none":     {[]string{"--expiry-warnings=soon"}, "--expiry-warnings"},
		"one of several is none":     {[]string{"--expiry-warnings=24h,7d"}, "--expiry-warnings"},
		"a warning without a unit":   {[]string{"--expiry-warnings=24"}, "--expiry-warnings"},
		"a warning at the end":       {[]string{"--expiry-warnings=0s"}, "--expiry-warnings"},
		"a warning after the end":    {[]string{"--expiry-warnings=-24h"}, "--expiry-warnings"},
		"less than no time":          {[]string{"--startup-timeout=-1s"}, "--startup-timeout"},
		"neither yes nor no":         {[]string{"--leader-elect=maybe"}, "invalid boolean value \"maybe\" for -leader-elect"},
		"a flag that isn't there":    {[]string{"--no-such-flag"}, "flag provided but not defined: -no-such-flag"},
		"formats alike and both bad": {[]string{"--token-format-live=x", "--token-format-test=x"}, "--token-format-"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(test.arguments...)
			if err == nil {
				t.Fatal("accepted")
			}
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, test.culprit) {
					t.Errorf("the error names another flag: %s", line)
				}
			}
		})
	}
}

func TestEveryFaultIsNamed(t *testing.T) {
	_, err := parse("--namespace=", "--token-format-live=a", "--token-format-test=b", "--expiry-warnings=c")
	if err == nil {
		t.Fatal("accepted")
	}
	for _, culprit := range []string{"--namespace", "--token-format-live", "--token-format-test", "--expiry-warnings"} {
		if !strings.Contains(err.Error(), culprit) {
			t.Errorf("%s is not named: %v", culprit, err)
		}
	}
}
