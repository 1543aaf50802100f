package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/nexuscommerce/apikey-operator/internal/console"
	"github.com/nexuscommerce/apikey-operator/internal/daemon"
)

// options are the console's flags.
type options struct {
	address         string
	metricsAddress  string
	healthAddress   string
	tlsCert         string
	tlsKey          string
	plainText       bool
	namespace       string
	hosts           string
	header          bool
	keyFile         string
	peers           string
	lifetime        time.Duration
	shutdownTimeout time.Duration

	allowed []string
}

const (
	minLifetime = time.Minute
	maxLifetime = 24 * time.Hour
)

// AddFlags implements daemon.Options.
func (o *options) AddFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.address, "http-bind-address", ":8443", "Address that browsers ask at.")
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8082", "Address of the metrics endpoint, or 0 for none.")
	flags.StringVar(&o.healthAddress, "health-probe-bind-address", ":8081",
		"Address of /healthz and /readyz, or 0 for none.")
	flags.StringVar(&o.tlsCert, "tls-cert-file", "",
		"File of the certificate of the page and the metrics, and of those between it and its authority's, in PEM. It is "+
			"read again when it changes.")
	flags.StringVar(&o.tlsKey, "tls-private-key-file", "", "File of the certificate's private key, in PEM.")
	flags.BoolVar(&o.plainText, "insecure-plain-text", false,
		"Answer without TLS, instead of with a certificate: only behind a proxy that has TLS, without which browsers keep "+
			"no session.")
	flags.StringVar(&o.namespace, "namespace", "", "Namespace that is suggested to who signs in.")
	flags.StringVar(&o.hosts, "hosts", "",
		"Names, comma-separated, that the page is answered at, with the port where that isn't the scheme's own. Blank for "+
			"all.")
	flags.BoolVar(&o.header, "authorization-header", false,
		"Take the user's token from the Authorization header of a request that has one, as a proxy that signs users in "+
			"with OpenID Connect sets it.")
	flags.StringVar(&o.keyFile, "session-key-file", "",
		"File of at least 32 random bytes that sessions are sealed with: the same for all replicas. Without one each "+
			"process makes its own, and its sessions end with it.")
	flags.StringVar(&o.peers, "peers", "",
		"Name and port by which the replicas of the console find one another, such as those of a headless Service: what a "+
			"user signs out of at one ends at all. It needs --session-key-file. Blank where there is one.")
	flags.DurationVar(&o.lifetime, "session-lifetime", console.DefaultLifetime,
		"How long after signing in a user has to do so again: 1m to 24h.")
	flags.DurationVar(&o.shutdownTimeout, "shutdown-timeout", 20*time.Second,
		"How long requests under way may take once the console is told to stop.")
}

// Complete implements daemon.Options.
func (o *options) Complete() error {
	var errs []error
	if o.address == "" || o.address == "0" {
		errs = append(errs, errors.New("--http-bind-address must be an address, such as :8443"))
	}
	if err := daemon.CheckTLS(o.plainText, o.tlsCert, o.tlsKey); err != nil {
		errs = append(errs, err)
	}
	if o.namespace != "" && len(validation.IsDNS1123Label(o.namespace)) > 0 {
		errs = append(errs, fmt.Errorf("--namespace=%q is no name of a namespace", o.namespace))
	}
	if err := o.checkPeers(); err != nil {
		errs = append(errs, err)
	}
	if o.lifetime < minLifetime || o.lifetime > maxLifetime {
		errs = append(errs, fmt.Errorf("--session-lifetime=%s must be from 1m to 24h", o.lifetime))
	}
	if o.shutdownTimeout <= 0 {
		errs = append(errs, fmt.Errorf("--shutdown-timeout=%s must be more than nothing", o.shutdownTimeout))
	}
	o.allowed = daemon.SplitList(o.hosts)
	return errors.Join(errs...)
}

// checkPeers checks that replicas can find and authenticate one another.
func (o *options) checkPeers() error {
	if o.peers == "" {
		return nil
	}
	if host, port, err := net.SplitHostPort(o.peers); err != nil || host == "" || port == "" {
		return fmt.Errorf("--peers=%q must be a name and a port, such as apikey-console-peers:8443", o.peers)
	}
	if o.keyFile == "" {
		return errors.New("--peers needs --session-key-file: replicas know one another by that key")
	}
	return nil
}

// findPeers returns a function that finds the addresses of all replicas; nil if there is only one.
func (o *options) findPeers() func(ctx context.Context) ([]string, error) {
	if o.peers == "" {
		return nil
	}
	return func(ctx context.Context) ([]string, error) {
		host, port, err := net.SplitHostPort(o.peers)
		if err != nil {
			return nil, err
		}
		found, err := net.DefaultResolver.LookupHost(ctx, host)
		for i := range found {
			found[i] = net.JoinHostPort(found[i], port)
		}
		return found, err
	}
}

// checkAddresses checks that the console can listen where the flags say.
func (o *options) checkAddresses() error {
	return daemon.CheckAddresses(
		daemon.Address{Flag: "http-bind-address", Value: o.address},
		daemon.Address{Flag: "metrics-bind-address", Value: o.metricsAddress},
		daemon.Address{Flag: "health-probe-bind-address", Value: o.healthAddress})
}
