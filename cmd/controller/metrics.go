package main

import (
	"fmt"

	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"

	"github.com/nexuscommerce/apikey-operator/internal/caller"
	"github.com/nexuscommerce/apikey-operator/internal/monitor/managed"
)

// newEndpoint is where the controller's metrics are. Its certificate, where it has one, has to be run.
func newEndpoint(o options, config *rest.Config) (managed.Endpoint, error) {
	endpoint := managed.Endpoint{Address: o.metricsAddress}
	var err error
	if o.tlsCert != "" {
		if endpoint.Certificate, err = certwatcher.New(o.tlsCert, o.tlsKey); err != nil {
			return endpoint, fmt.Errorf("--tls-cert-file=%s, --tls-private-key-file=%s: %w", o.tlsCert, o.tlsKey, err)
		}
	}
	if o.metricsSecure {
		endpoint.Guard, err = caller.NewForConfig(config, nil, ctrl.Log.WithName("caller"))
	}
	return endpoint, err
}
