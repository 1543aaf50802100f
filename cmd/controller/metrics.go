package main

import (
	"fmt"

	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nexuscommerce/apikey-operator/controllers/certificates"
	"github.com/nexuscommerce/apikey-operator/internal/kubeauth"
	"github.com/nexuscommerce/apikey-operator/internal/monitor/managed"
)

// newEndpoint returns the endpoint of the controller's metrics. Its certificate is from the files of the flags, or else
// the one that the controller signs itself, if it signs any, from the watched cache.
func newEndpoint(o options, config *rest.Config, watched client.Reader) (managed.Endpoint, error) {
	endpoint := managed.Endpoint{Address: o.metricsAddress, Health: o.healthAddress}
	switch {
	case o.tlsCert != "":
		watcher, err := certwatcher.New(o.tlsCert, o.tlsKey)
		if err != nil {
			return endpoint, fmt.Errorf("--tls-cert-file=%s, --tls-private-key-file=%s: %w", o.tlsCert, o.tlsKey, err)
		}
		endpoint.Certificate, endpoint.Reread = watcher.GetCertificate, watcher
	case o.selfSigned:
		endpoint.Certificate = certificates.NewOwn(watched, o.namespace).GetCertificate
	}
	var err error
	if o.metricsSecure {
		endpoint.Guard, err = kubeauth.NewForConfig(config, kubeauth.Options{Log: ctrl.Log.WithName("caller")})
	}
	return endpoint, err
}
