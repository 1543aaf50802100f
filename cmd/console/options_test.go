package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/flags"
)

// parse reads flags as the command does, beside the one that says that there is no certificate.
func parse(arguments ...string) error {
	return flags.Parse(&options{}, append([]string{"--insecure-plain-text"}, arguments...)...)
}

func TestDefaults(t *testing.T) {
	var o options
	if err := flags.Parse(&o, "--tls-cert-file=c", "--tls-private-key-file=k"); err != nil {
		t.Fatal(err)
	}
	flags.Values{
		"--http-bind-address":         {o.address, ":8443"},
		"--metrics-bind-address":      {o.metricsAddress, ":8082"},
		"--health-probe-bind-address": {o.healthAddress, ":8081"},
		"--insecure-plain-text":       {o.plainText, false},
		"--authorization-header":      {o.header, false},
		"--session-lifetime":          {o.lifetime, 8 * time.Hour},
		"--session-key-file":          {o.keyFile, ""},
		"--peers":                     {o.peers, ""},
		"--shutdown-timeout":          {o.shutdownTimeout, 20 * time.Second},
	}.Check(t)
}

func TestAccepted(t *testing.T) {
	flags.Accepted(t, parse, map[string][]string{
		"the shortest session": {"--session-lifetime=1m"},
		"the longest session":  {"--session-lifetime=24h"},
		"a namespace":          {"--namespace=warehouse"},
		"no metrics, no probe": {"--metrics-bind-address=0", "--health-probe-bind-address=0"},
	})
	var o options
	err := flags.Parse(&o, "--insecure-plain-text", "--hosts=keys.example, keys.example:8443,")
	if want := []string{"keys.example", "keys.example:8443"}; err != nil || !slices.Equal(o.allowed, want) {
		t.Errorf("hosts %v, %v", o.allowed, err)
	}
}

func TestRefused(t *testing.T) {
	for culprit, arguments := range map[string][]string{
		"--tls-cert-file":        {"--tls-cert-file=c"},
		"--tls-private-key-file": {},
		"--insecure-plain-text":  {"--insecure-plain-text", "--tls-cert-file=c"},
		"--http-bind-address":    {"--insecure-plain-text", "--http-bind-address=0"},
		"--session-lifetime":     {"--insecure-plain-text", "--session-lifetime=25h"},
		"--session-lifetime=59s": {"--insecure-plain-text", "--session-lifetime=59s"},
		"--namespace":            {"--insecure-plain-text", "--namespace=Not_A_Name"},
		"--peers":                {"--insecure-plain-text", "--session-key-file=k", "--peers=apikey-console-peers"},
		"--peers needs":          {"--insecure-plain-text", "--peers=apikey-console-peers:8443"},
		"--shutdown-timeout":     {"--insecure-plain-text", "--shutdown-timeout=0s"},
	} {
		if err := flags.Parse(&options{}, arguments...); err == nil || !strings.Contains(err.Error(), culprit) {
			t.Errorf("%v: %v", arguments, err)
		}
	}
}

func TestSessionKey(t *testing.T) {
	if key, err := (&options{}).sessionKey(); key != nil || err != nil {
		t.Errorf("without a file: %v, %v", key, err)
	}
	if _, err := (&options{keyFile: t.TempDir() + "/none"}).sessionKey(); err == nil ||
		!strings.Contains(err.Error(), "--session-key-file") {
		t.Errorf("a file that isn't there: %v", err)
	}
}
