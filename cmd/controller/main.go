// The controller turns ApiKeys into tokens in Secrets. Several replicas may run; one leads and the others wait.
package main

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/accesspolicy"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/keycache"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/publication"
	"github.com/nexuscommerce/apikey-operator/controllers/canary"
	"github.com/nexuscommerce/apikey-operator/controllers/tenant"
	"github.com/nexuscommerce/apikey-operator/internal/daemon"
	"github.com/nexuscommerce/apikey-operator/internal/gctuning"
	"github.com/nexuscommerce/apikey-operator/internal/keymetrics"
	"github.com/nexuscommerce/apikey-operator/internal/monitor"
)

func main() {
	gctuning.RelaxBounded()
	gctuning.RespectContainerLimit()
	o := &options{}
	daemon.Main("apikey-controller", o, func(ctx context.Context, restConfig *rest.Config) error {
		if err := o.checkAddresses(); err != nil {
			return err
		}
		if err := o.needs().Await(ctx, restConfig, ctrl.Log.WithName("startup")); err != nil || ctx.Err() != nil {
			return err
		}
		manager, err := newManager(*o, restConfig)
		if err != nil {
			return err
		}
		return o.lease.explain(manager.Start(ctx))
	})
}

// newManager returns a manager with all of the controller's parts.
func newManager(o options, restConfig *rest.Config) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, keysv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	metrics.Registry.MustRegister(monitor.Build("apikey-controller"))
	watched, err := newCertificateCache(o, restConfig, scheme)
	if err != nil {
		return nil, err
	}
	endpoint, err := newEndpoint(o, restConfig, watched)
	if err != nil {
		return nil, err
	}
	settings := ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       endpoint.Options(),
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true, // Safe, because the process ends when the manager has stopped.
		// The caches of replicas that don't lead are warm, because a list of all keys takes longer than the election.
		Controller: config.Controller{EnableWarmup: new(true)},
		Cache:      keycache.Options(o.served, clock.RealClock{}),
		Client:     client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
	}
	o.lease.apply(&settings)
	m, err := ctrl.NewManager(restConfig, settings)
	if err != nil {
		return nil, err
	}
	policies := accesspolicy.NewController(m.GetClient(), m.GetEventRecorder("apikey-controller"), clock.RealClock{})
	tenants := tenant.NewController(m.GetClient(), m.GetAPIReader(), clock.RealClock{})
	counted := keymetrics.New(clock.RealClock{})
	for _, register := range []func(manager.Manager) error{
		func(m manager.Manager) error { return counted.Watch(context.Background(), m.GetCache()) },
		func(manager.Manager) error { return metrics.Registry.Register(counted) },
		endpoint.AddTo,
		func(m manager.Manager) error { return registerCertificates(o, m, watched) },
		func(m manager.Manager) error { return registerKeys(o, m) },
		func(m manager.Manager) error { return registerCanary(o, m) },
		tenants.Register,
		policies.Register,
	} {
		if err := register(m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// registerCanary adds the controller of the verifiers' canary to a manager, if a flag asks for it.
func registerCanary(o options, m manager.Manager) error {
	if !o.createCanary {
		return nil
	}
	return canary.NewController(m.GetClient(), o.namespace).Register(m)
}

// registerKeys adds the controller of keys to a manager, with the indexes that it needs.
func registerKeys(o options, m manager.Manager) error {
	ctx := context.Background()
	keys, err := keycache.NewKeys(ctx, m.GetCache())
	if err != nil {
		return err
	}
	tenants, err := keycache.NewTenants(ctx, m.GetCache())
	if err != nil {
		return err
	}
	metadata := publication.Getter(m.GetCache())
	if len(o.served) == 0 {
		if metadata, err = keycache.NewSecretStubs(ctx, m.GetCache()); err != nil {
			return err
		}
	}
	roots, err := newRootCache(ctx, m, o.namespace)
	if err != nil {
		return err
	}
	if err := m.Add(roots); err != nil {
		return err
	}
	return apikey.NewController(apikey.Options{
		Client:         m.GetClient(),
		Live:           m.GetAPIReader(),
		Roots:          roots,
		Metadata:       metadata,
		Keys:           keys,
		Tenants:        tenants,
		Recorder:       m.GetEventRecorder("apikey-controller"),
		Clock:          clock.RealClock{},
		Namespace:      o.namespace,
		Served:         o.served,
		Formats:        o.formats(),
		ExpiryWarnings: o.warnings,
	}).Register(m, keys)
}
