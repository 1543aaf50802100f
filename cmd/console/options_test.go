package main

import (
	"flag"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// parse reads flags as the command does.
func parse(arguments ...string) (options, error) {
	var o options
	flags := flag.NewFlagSet("apikey-console", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	o.AddFlags(flags)
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	err := o.Complete()
	return o, err
}

func TestDefaults(t *testing.T) {
	o, err := parse("--tls-cert-file=c", "--tls-private-key-file=k")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ got, want any }{
		"--http-bind-address":         {o.address, ":8443"},
		"--metrics-bind-address":      {o.metricsAddress, ":8082"},
		"--health-probe-bind-address": {o.healthAddress, ":8081"},
		"--insecure-plain-text":       {o.plainText, false},
		"--authorization-header":      {o.header, false},
		"--session-lifetime":          {o.lifetime, 8 * time.Hour},
		"--session-key-file":          {o.keyFile, ""},
		"--shutdown-timeout":          {o.shutdownTimeout, 20 * time.Second},
	} {
		if test.got != test.want {
			t.Errorf("%s is %v by default, want %v", name, test.got, test.want)
		}
	}
}

func TestAccepted(t *testing.T) {
	for name, arguments := range map[string][]string{
		"the shortest session": {"--session-lifetime=1m"},
		"the longest session":  {"--session-lifetime=24h"},
		"a namespace":          {"--namespace=warehouse"},
		"no metrics, no probe": {"--metrics-bind-address=0", "--health-probe-bind-address=0"},
	} {
		if _, err := parse(append(arguments, "--insecure-plain-text")...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	o, err := parse("--insecure-plain-text", "--hosts=keys.example, keys.example:8443,")
	if want := []string{"keys.example", "keys.example:8443"}; err != nil || !slices.Equal(o.allowed, want) {
		t.Errorf("hosts %v, %v", o.allowed, err)
	}
}

func TestRefused(t *testing.T) {
	for flag, arguments := range map[string][]string{
		"--tls-cert-file":        {"--tls-cert-file=c"},
		"--tls-private-key-file": {},
		"--insecure-plain-text":  {"--insecure-plain-text", "--tls-cert-file=c"},
		"--http-bind-address":    {"--insecure-plain-text", "--http-bind-address=0"},
		"--session-lifetime":     {"--insecure-plain-text", "--session-lifetime=25h"},
		"--session-lifetime=59s": {"--insecure-plain-text", "--session-lifetime=59s"},
		"--namespace":            {"--insecure-plain-text", "--namespace=Not_A_Name"},
		"--shutdown-timeout":     {"--insecure-plain-text", "--shutdown-timeout=0s"},
	} {
		if _, err := parse(arguments...); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%v: %v", arguments, err)
		}
	}
}

func TestSessionKey(t *testing.T) {
	if key, err := (&options{}).sessionKey(); key != nil || err != nil {
		t.Errorf("without a file: %v, %v", key, err)
	}
	if _, err := (&options{keyFile: t.TempDir() + "/none"}).sessionKey(); err == nil || !strings.Contains(err.Error(), "--session-key-file") {
		t.Errorf("a file that isn't there: %v", err)
	}
}
