package main

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/daemon"
)

// options are the verifier's flags.
type options struct {
	namespace       string
	metricsAddress  string
	metricsSecure   bool
	healthAddress   string
	httpAddress     string
	grpcAddress     string
	grpcReflection  bool
	keepToken       bool
	tlsCert         string
	tlsKey          string
	plainText       bool
	trustedProxies  string
	maxStaleness    time.Duration
	name            string
	shutdownTimeout time.Duration
	usageBudget     float64
	callerAudiences string
	reviewAudiences string
	auditLog        string
	auditSample     float64
	otlpEndpoint    string
	startupTimeout  time.Duration

	trust     clientip.Trust
	audiences []string
	// reviewed are the elements of reviewAudiences.
	reviewed []string
}

const (
	minStaleness   = 2 * time.Second
	maxStaleness   = time.Hour
	maxUsageBudget = 1000
)

// AddFlags implements daemon.Options.
func (o *options) AddFlags(flags *flag.FlagSet) {
	flags.StringVar(
		&o.namespace, "namespace", "apikey-system", "Namespace of the canary ApiKey that freshness is proved through.",
	)
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8082", "Address of the metrics endpoint, or 0 for none.")
	flags.BoolVar(&o.metricsSecure, "metrics-secure", false,
		"Show metrics over TLS only, and only to callers whom the Kubernetes cluster knows and lets get /metrics. Without "+
			"a certificate the endpoint has one that nobody else signed.")
	flags.StringVar(&o.healthAddress, "health-probe-bind-address", ":8081", "Address of /healthz and /readyz.")
	flags.StringVar(&o.httpAddress, "http-bind-address", ":8080", "Address that proxies ask at over HTTP.")
	flags.StringVar(&o.grpcAddress, "grpc-bind-address", ":9090", "Address that Envoy asks at over gRPC.")
	flags.BoolVar(&o.grpcReflection, "grpc-reflection", false, "Tell who asks which gRPC services there are.")
	flags.BoolVar(&o.keepToken, "keep-authorization", false,
		"Leave Authorization on requests that pass. Without this, Envoy is told to take it away: the upstream has no use "+
			"for the token.")
	flags.StringVar(
		&o.tlsCert, "tls-cert-file", "",
		"File of the certificate of every port, and of those between it and its authority's, in PEM. It is read again "+
			"when it changes.",
	)
	flags.StringVar(&o.tlsKey, "tls-private-key-file", "", "File of the certificate's private key, in PEM.")
	flags.BoolVar(
		&o.plainText, "insecure-plain-text", false,
		"Answer without TLS, instead of with a certificate: tokens can be read on the way from the proxy.",
	)
	flags.StringVar(&o.trustedProxies, "trusted-proxies", "",
		"Blocks of addresses, comma-separated, of the proxies whose X-Forwarded-For counts. Without any, no client's "+
			"address is known, and keys with allowedCIDRs are refused.")
	flags.DurationVar(&o.maxStaleness, "max-staleness", 5*time.Minute,
		"How long ago the index may last have been proved up to date for a request to pass: 2s to 1h.")
	flags.StringVar(
		&o.name, "name", defaultName(), "This verifier's own name among all that run. In a pod, the pod's name.",
	)
	flags.StringVar(&o.callerAudiences, "caller-audiences", "",
		"Audiences, comma-separated, of which the Kubernetes token of a caller of /token/introspect or /debug/explain "+
			"must have one. Without any it must be for the API server. A secure /metrics takes either.")
	flags.StringVar(&o.reviewAudiences, "review-audiences", "",
		"Audiences, comma-separated, that are told by TokenReviews (/token/review) whose a key is, such as the API "+
			"server's own. Without any, nobody is authenticated there.")
	flags.DurationVar(
		&o.shutdownTimeout, "shutdown-timeout", 20*time.Second,
		"How long requests under way may take once the verifier is told to stop.",
	)
	flags.Float64Var(&o.usageBudget, "usage-write-budget", 20,
		"How many writes a second all verifiers together may make of when keys were last used: 0 to 1000, 0 for none.")
	flags.StringVar(
		&o.auditLog, "audit-log", "",
		"File that decisions are appended to, one JSON object a line, or - for standard output. Blank for none.",
	)
	flags.StringVar(&o.otlpEndpoint, "otlp-endpoint", "",
		"URL of an OpenTelemetry collector that takes traces by OTLP over HTTP, such as http://collector:4318. Blank for "+
			"none, unless OTEL_EXPORTER_OTLP_ENDPOINT is set.")
	flags.Float64Var(
		&o.auditSample, "audit-sample-allowed", 1,
		"The part of the requests that pass which the audit log has: 0 to 1. It has all that are refused.",
	)
	daemon.AddTimeoutFlag(flags, &o.startupTimeout)
}

func defaultName() string {
	if name := os.Getenv("POD_NAME"); name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil {
		return "verifier"
	}
	return strings.ToLower(name)
}

var validName = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]{0,61}[a-z0-9])?$`)

// Complete implements daemon.Options.
func (o *options) Complete() error {
	errs := o.checkPorts()
	if o.namespace == "" {
		errs = append(errs, errors.New("--namespace must not be empty"))
	}
	if o.maxStaleness < minStaleness || o.maxStaleness > maxStaleness {
		errs = append(
			errs, fmt.Errorf("--max-staleness=%s must be from %s to %s", o.maxStaleness, minStaleness, maxStaleness),
		)
	}
	if !validName.MatchString(o.name) {
		errs = append(errs, fmt.Errorf("--name=%q must be at most 63 lower-case letters, digits, hyphens and dots", o.name))
	}
	if o.shutdownTimeout <= 0 {
		errs = append(errs, fmt.Errorf("--shutdown-timeout=%s must be more than nothing", o.shutdownTimeout))
	}
	if err := daemon.CheckTimeout(o.startupTimeout); err != nil {
		errs = append(errs, err)
	}
	o.audiences, o.reviewed = daemon.SplitList(o.callerAudiences), daemon.SplitList(o.reviewAudiences)
	trust, err := clientip.NewTrust(daemon.SplitList(o.trustedProxies))
	if err != nil {
		errs = append(errs, fmt.Errorf("--trusted-proxies: %w", err))
	}
	o.trust = trust
	return errors.Join(append(errs, o.checkRecords()...)...)
}

// checkRecords checks the options of the usage, the audit log and traces.
func (o *options) checkRecords() (errs []error) {
	if !(o.usageBudget >= 0 && o.usageBudget <= maxUsageBudget) { // Written so that NaN fails, too.
		errs = append(errs, fmt.Errorf("--usage-write-budget=%v must be from 0 to %d", o.usageBudget, maxUsageBudget))
	}
	if endpoint, err := url.Parse(o.otlpEndpoint); o.otlpEndpoint != "" &&
		(err != nil || endpoint.Scheme != "http" && endpoint.Scheme != "https" || endpoint.Host == "") {
		errs = append(errs, errors.New("--otlp-endpoint must be a URL such as http://collector:4318"))
	}
	if !(o.auditSample >= 0 && o.auditSample <= 1) {
		errs = append(errs, fmt.Errorf("--audit-sample-allowed=%v must be from 0 to 1", o.auditSample))
	}
	return errs
}

// checkPorts checks the options of the ports for proxies, and of TLS.
func (o *options) checkPorts() (errs []error) {
	if o.httpAddress == "" {
		errs = append(errs, errors.New("--http-bind-address must not be empty"))
	}
	if o.grpcAddress == "" {
		errs = append(errs, errors.New("--grpc-bind-address must not be empty"))
	}
	if err := daemon.CheckTLS(o.plainText, o.tlsCert, o.tlsKey); err != nil {
		errs = append(errs, err)
	}
	return errs
}
