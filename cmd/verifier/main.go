// The verifier answers the cluster's ingress, for every request, whether its API key may do what it asks. Any number of
// replicas run side by side; none needs the controller, and none can read a Secret.
package main

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/caller"
	"github.com/nexuscommerce/apikey-operator/internal/check"
	"github.com/nexuscommerce/apikey-operator/internal/clock"
	"github.com/nexuscommerce/apikey-operator/internal/collector"
	"github.com/nexuscommerce/apikey-operator/internal/command"
	"github.com/nexuscommerce/apikey-operator/internal/feed"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/serving"
	"github.com/nexuscommerce/apikey-operator/internal/surface/explain"
	"github.com/nexuscommerce/apikey-operator/internal/usage"
)

// explainPath is what a ClusterRole of config/rbac is about.
const explainPath = "/debug/explain"

func main() {
	collector.Relax()
	o := &options{}
	command.Main("apikey-verifier", o, func(ctx context.Context, config *rest.Config) error { return serve(ctx, *o, config) })
}

// serve runs the verifier until it is told to stop.
func serve(ctx context.Context, o options, config *rest.Config) error {
	if err := o.checkAddresses(); err != nil {
		return err
	}
	secure, err := newSecurity(o)
	if err != nil {
		return err
	}
	guard, err := caller.NewForConfig(config, o.audiences, ctrl.Log.WithName("caller"))
	if err != nil {
		return err
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Metrics:                 secure.metrics(o, guard),
		HealthProbeBindAddress:  "0", // The verifier's own says more.
		GracefulShutdownTimeout: &o.shutdownTimeout,
	})
	if err != nil {
		return err
	}
	decider, self, err := newReplica(o, config)
	if err != nil {
		return err
	}
	// For people, so it is never where proxies and their clients ask.
	if err := manager.AddMetricsServerExtraHandler(explainPath, guard.Protect(explainPath, explain.NewHandler(decider))); err != nil {
		return err
	}
	if self.audit, err = newAudit(o, metrics.Registry); err != nil {
		return err
	}
	decider.AuditTo(self.audit)
	if self.tracer, err = newTracer(o); err != nil {
		return err
	}
	decider.TraceTo(self.tracer)
	if self.servers, err = serving.New(serving.Options{
		HTTPAddress: o.httpAddress, GRPCAddress: o.grpcAddress, TLS: secure.config(), Credentials: secure.overGRPC(),
		Reflection: o.grpcReflection, Ready: self.ready,
		RouteOptions: serving.RouteOptions{Decider: decider, Guard: guard, Trust: o.trust, KeepToken: o.keepToken},
	}); err != nil {
		return err
	}
	health, err := newHealth(o.healthAddress, secure, self)
	if err != nil {
		return err
	}
	if err := errors.Join(manager.Add(self), manager.Add(health), manager.Add(startup{o.needs(), config}), secure.addTo(manager)); err != nil {
		return err
	}
	return manager.Start(ctx)
}

// newReplica assembles what decides, and what keeps that up to date. Nothing runs yet.
func newReplica(o options, config *rest.Config) (*check.Decider, *replica, error) {
	view := index.NewView()
	now := clock.New(time.Now).Now
	canary := types.NamespacedName{Namespace: o.namespace, Name: keysv1alpha1.CanaryName}
	uses, err := usage.New(usage.Options{
		Config:   config,
		Canary:   canary,
		Name:     o.name,
		Budget:   o.usageBudget,
		Log:      ctrl.Log.WithName("usage"),
		Clock:    now,
		Registry: metrics.Registry,
	})
	if err != nil {
		return nil, nil, err
	}
	keys, err := feed.New(feed.Options{
		Config:       config,
		Canary:       canary,
		Name:         o.name,
		MaxStaleness: o.maxStaleness,
		View:         view,
		Usage:        uses,
		Log:          ctrl.Log.WithName("feed"),
		Clock:        now,
		Registry:     metrics.Registry,
	})
	if err != nil {
		return nil, nil, err
	}
	self := &replica{keys: keys, usage: uses, timeout: o.shutdownTimeout}
	decider := check.New(view, keys, now, metrics.Registry)
	decider.NoteTo(uses)
	return decider, self, nil
}
