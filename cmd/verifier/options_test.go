package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/flags"
)

// read parses flags as the program does, with --insecure-plain-text in addition.
func read(arguments ...string) (o options, err error) {
	err = flags.Parse(&o, append([]string{"--insecure-plain-text"}, arguments...)...)
	return o, err
}

// parse returns the error of read.
func parse(arguments ...string) error {
	_, err := read(arguments...)
	return err
}

func TestDefaults(t *testing.T) {
	t.Setenv("POD_NAME", "verifier-0")
	o, err := read()
	if err != nil {
		t.Fatal(err)
	}
	flags.Values{
		"--namespace":                 {o.namespace, "apikey-system"},
		"--metrics-bind-address":      {o.metricsAddress, ":8082"},
		"--health-probe-bind-address": {o.healthAddress, ":8081"},
		"--http-bind-address":         {o.httpAddress, ":8080"},
		"--grpc-bind-address":         {o.grpcAddress, ":9090"},
		"--grpc-reflection":           {o.grpcReflection, false},
		"--keep-authorization":        {o.keepToken, false},
		"--trusted-proxies":           {o.trustedProxies, ""},
		"--max-staleness":             {o.maxStaleness, 5 * time.Minute},
		"--shutdown-timeout":          {o.shutdownTimeout, 20 * time.Second},
		"--usage-write-budget":        {o.usageBudget, 20.0},
		"--audit-log":                 {o.auditLog, ""},
		"--startup-timeout":           {o.startupTimeout, 30 * time.Second},
		"--audit-sample-allowed":      {o.auditSample, 1.0},
		"--otlp-endpoint":             {o.otlpEndpoint, ""},
		"--name":                      {o.name, "verifier-0"},
	}.Check(t)
	if got := o.trust.Client(netip.MustParseAddr("10.0.0.1"), []string{"203.0.113.7"}); got.IsValid() {
		t.Errorf("a proxy is trusted by default: client %v", got)
	}
}

// TestDefaultName checks that the default outside of a pod is the host's name.
func TestDefaultName(t *testing.T) {
	t.Setenv("POD_NAME", "")
	if name := defaultName(); name == "" || name != strings.ToLower(name) {
		t.Errorf("name %q", name)
	}
}

func TestAccepted(t *testing.T) {
	flags.Accepted(t, parse, map[string][]string{
		"the shortest staleness":  {"--max-staleness=2s"},
		"the longest staleness":   {"--max-staleness=1h"},
		"staleness in between":    {"--max-staleness=90s"},
		"one proxy":               {"--trusted-proxies=10.0.0.0/8"},
		"several proxies":         {"--trusted-proxies=10.0.0.0/8,fd00::/8"},
		"several and spaces":      {"--trusted-proxies=10.0.0.0/8, fd00::/8,"},
		"no metrics":              {"--metrics-bind-address=0"},
		"a name of one character": {"--name=a"},
		"the longest name":        {"--name=" + strings.Repeat("a", 63)},
		"a name with dots":        {"--name=node-1.example.com"},
		"a moment to shut down":   {"--shutdown-timeout=1ns"},
		"no writes of usage":      {"--usage-write-budget=0"},
		"a write in 4 seconds":    {"--usage-write-budget=0.25"},
		"the most writes":         {"--usage-write-budget=1000"},
		"a collector":             {"--otlp-endpoint=http://collector:4318"},
		"a collector over TLS":    {"--otlp-endpoint=https://collector.example.com/v1/traces"},
		"refusals alone":          {"--audit-log=-", "--audit-sample-allowed=0"},
		"some of what passes":     {"--audit-log=audit.jsonl", "--audit-sample-allowed=0.01"},
	})
}

// TestRefused checks that the error names the invalid flag, and no other.
func TestRefused(t *testing.T) {
	flags.Refusals{
		"no namespace":                 {"--namespace=", "--namespace"},
		"no address":                   {"--http-bind-address=", "--http-bind-address"},
		"no address for gRPC":          {"--grpc-bind-address=", "--grpc-bind-address"},
		"staleness a moment too short": {"--max-staleness=1.999999999s", "--max-staleness"},
		"staleness a moment too long":  {"--max-staleness=1h0m0.000000001s", "--max-staleness"},
		"no staleness":                 {"--max-staleness=0", "--max-staleness"},
		"staleness below nothing":      {"--max-staleness=-5m", "--max-staleness"},
		"no name":                      {"--name=", "--name"},
		"too long a name":              {"--name=" + strings.Repeat("a", 64), "--name"},
		"a name in capitals":           {"--name=Verifier", "--name"},
		"a name with a slash":          {"--name=a/b", "--name"},
		"a name with a line break":     {"--name=a\n", "--name"},
		"a name that ends in a hyphen": {"--name=a-", "--name"},
		"a name that starts with one":  {"--name=-a", "--name"},
		"a proxy that is none":         {"--trusted-proxies=banana", "--trusted-proxies"},
		"a proxy without a length":     {"--trusted-proxies=10.0.0.1", "--trusted-proxies"},
		"one of several is none":       {"--trusted-proxies=10.0.0.0/8,banana", "--trusted-proxies"},
		"no time to shut down":         {"--shutdown-timeout=0s", "--shutdown-timeout"},
		"less than no time":            {"--shutdown-timeout=-1s", "--shutdown-timeout"},
		"fewer writes than none":       {"--usage-write-budget=-1", "--usage-write-budget"},
		"too many writes":              {"--usage-write-budget=1000.1", "--usage-write-budget"},
		"writes that are no number":    {"--usage-write-budget=NaN", "--usage-write-budget"},
		"a collector without a scheme": {"--otlp-endpoint=collector:4318", "--otlp-endpoint"},
		"a collector over gRPC":        {"--otlp-endpoint=grpc://collector:4317", "--otlp-endpoint"},
		"a collector that is nowhere":  {"--otlp-endpoint=http://", "--otlp-endpoint"},
		"more than all":                {"--audit-sample-allowed=1.1", "--audit-sample-allowed"},
		"less than none":               {"--audit-sample-allowed=-0.1", "--audit-sample-allowed"},
	}.Check(t, parse)
}

// TestPlainTextIsExplicit checks that every port has TLS unless a flag turns it off.
func TestPlainTextIsExplicit(t *testing.T) {
	for name, test := range map[string]struct {
		arguments []string
		refused   bool
	}{
		"a certificate":     {[]string{"--tls-cert-file=a", "--tls-private-key-file=b"}, false},
		"plain text":        {[]string{"--insecure-plain-text"}, false},
		"neither":           {nil, true},
		"plain text denied": {[]string{"--insecure-plain-text=false"}, true},
		"no key":            {[]string{"--tls-cert-file=a"}, true},
		"no certificate":    {[]string{"--tls-private-key-file=b"}, true},
		"a certificate and none": {
			[]string{"--tls-cert-file=a", "--tls-private-key-file=b", "--insecure-plain-text"}, true,
		},
		"no key and plain text":       {[]string{"--tls-cert-file=a", "--insecure-plain-text"}, true},
		"plain text and only the key": {[]string{"--tls-private-key-file=b", "--insecure-plain-text"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			err := flags.Parse(&options{}, test.arguments...)
			if (err != nil) != test.refused {
				t.Fatalf("error %v", err)
			}
			for _, flag := range []string{"--insecure-plain-text", "--tls-cert-file"} {
				if err != nil && !strings.Contains(err.Error(), flag) {
					t.Errorf("the error does not name %s: %v", flag, err)
				}
			}
		})
	}
}

func TestEveryFaultIsNamed(t *testing.T) {
	err := parse(
		"--namespace=", "--http-bind-address=", "--grpc-bind-address=", "--max-staleness=1s", "--name=",
		"--shutdown-timeout=0s", "--trusted-proxies=x",
	)
	flags.AllNamed(t, err,
		"--namespace", "--http-bind-address", "--grpc-bind-address", "--max-staleness", "--name=", "--shutdown-timeout",
		"--trusted-proxies")
}

// TestTrustedProxies checks that exactly the listed proxies are trusted.
func TestTrustedProxies(t *testing.T) {
	o, err := read("--trusted-proxies=10.0.0.0/8, fd00::/8")
	if err != nil {
		t.Fatal(err)
	}
	for peer, trusted := range map[string]bool{
		"10.0.0.1": true, "fd00::1": true, "192.0.2.1": false, "2001:db8::1": false,
	} {
		if got := o.trust.Client(netip.MustParseAddr(peer), []string{"203.0.113.7"}); got.IsValid() != trusted {
			t.Errorf("from %s, the client is %v", peer, got)
		}
	}
}

func TestCallerAudiences(t *testing.T) {
	for argument, want := range map[string][]string{
		"--caller-audiences=":  nil,
		"--caller-audiences=a": {"a"},
		"--caller-audiences=apikey-verifier, https://a.example.com,": {"apikey-verifier", "https://a.example.com"},
	} {
		if o, err := read(argument); err != nil || !slices.Equal(o.audiences, want) {
			t.Errorf("%s: %v, %v", argument, o.audiences, err)
		}
	}
}
