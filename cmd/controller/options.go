package main

import (
	"errors"
	"flag"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/validation"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/credentials"
	"github.com/nexuscommerce/apikey-operator/internal/daemon"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// options are the controller's flags.
type options struct {
	namespace      string
	namespaces     string
	metricsAddress string
	metricsSecure  bool
	tlsCert        string
	tlsKey         string
	selfSigned     bool
	createCanary   bool
	healthAddress  string
	leaderElect    bool
	lease          leaseTimes
	formatLive     string
	formatTest     string
	expiryWarnings string
	startupTimeout time.Duration

	warnings []time.Duration
	served   []string
}

// AddFlags implements daemon.Options.
func (o *options) AddFlags(flags *flag.FlagSet) {
	flags.StringVar(
		&o.namespace, "namespace", "apikey-system", "Namespace in which the root keys and the leader's lease are kept.",
	)
	flags.StringVar(&o.namespaces, "namespaces", "",
		"Namespaces, comma-separated, in which keys get Secrets, so that the controller needs no rights to Secrets "+
			"anywhere else. Blank for all.")
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "Address of the metrics endpoint, or 0 for none.")
	flags.BoolVar(&o.metricsSecure, "metrics-secure", false,
		"Show metrics over TLS only, and only to callers whom the Kubernetes cluster knows and lets get /metrics. Without "+
			"a certificate the endpoint has one that nobody else signed.")
	flags.StringVar(
		&o.tlsCert, "tls-cert-file", "",
		"File of the metrics endpoint's certificate, and of those between it and its authority's, in PEM. It is read "+
			"again when it changes.",
	)
	flags.StringVar(&o.tlsKey, "tls-private-key-file", "", "File of the certificate's private key, in PEM.")
	flags.BoolVar(&o.selfSigned, "self-signed-certificates", false,
		"Sign the certificates of the verifiers, the console and the metrics endpoint, by an authority of the "+
			"controller's own, and replace them in time.")
	flags.BoolVar(&o.createCanary, "create-canary", false,
		"Create the ApiKey through which verifiers prove their freshness, at the start and whenever it is missing.")
	flags.StringVar(&o.healthAddress, "health-probe-bind-address", ":8081", "Address of /healthz and /readyz.")
	flags.BoolVar(
		&o.leaderElect, "leader-elect", true,
		"Act only while holding the lease. Off is for a single replica that is never replaced by another while it runs.",
	)
	o.lease.addFlags(flags)
	flags.StringVar(
		&o.formatLive, "token-format-live", string(token.FormatLive),
		"Beginning of the tokens of tenants whose environment is Live.",
	)
	flags.StringVar(
		&o.formatTest, "token-format-test", string(token.FormatTest),
		"Beginning of the tokens of tenants whose environment is Test.",
	)
	flags.StringVar(
		&o.expiryWarnings, "expiry-warnings", "168h,24h",
		"How long before a key's end to warn of it in an event, comma-separated; empty for not at all.",
	)
	daemon.AddTimeoutFlag(flags, &o.startupTimeout)
}

// formats returns the token formats by environment.
func (o *options) formats() credentials.Formats {
	return credentials.Formats{
		keysv1alpha1.EnvironmentLive: token.Format(o.formatLive),
		keysv1alpha1.EnvironmentTest: token.Format(o.formatTest),
	}
}

// Complete implements daemon.Options.
func (o *options) Complete() error {
	var errs []error
	if o.namespace == "" {
		errs = append(errs, errors.New("--namespace must not be empty"))
	}
	errs = append(errs, daemon.CheckTimeout(o.startupTimeout), o.lease.check())
	if err := token.Format(o.formatLive).Validate(); err != nil {
		errs = append(errs, fmt.Errorf("--token-format-live: %w", err))
	}
	if err := token.Format(o.formatTest).Validate(); err != nil {
		errs = append(errs, fmt.Errorf("--token-format-test: %w", err))
	}
	if o.formatLive == o.formatTest {
		errs = append(
			errs, fmt.Errorf("--token-format-live and --token-format-test are both %q: they must differ", o.formatLive),
		)
	}
	if (o.tlsCert == "") != (o.tlsKey == "") {
		errs = append(errs, errors.New("--tls-cert-file and --tls-private-key-file must both be set, or neither"))
	}
	o.served = daemon.SplitList(o.namespaces)
	for _, namespace := range o.served {
		for _, fault := range validation.ValidateNamespaceName(namespace, false) {
			errs = append(errs, fmt.Errorf("--namespaces: %q is no namespace's name: %s", namespace, fault))
		}
	}
	for _, text := range daemon.SplitList(o.expiryWarnings) {
		warning, err := time.ParseDuration(text)
		if err != nil || warning <= 0 {
			errs = append(errs, fmt.Errorf("--expiry-warnings: %q is not a length of time such as 24h", text))
		}
		o.warnings = append(o.warnings, warning)
	}
	return errors.Join(errs...)
}
