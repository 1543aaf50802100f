// The verifier tells proxies for every request whether its API key allows it. Any number of replicas may run. None
// needs the controller, and none can read Secrets.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/clock"
	"github.com/nexuscommerce/apikey-operator/internal/daemon"
	"github.com/nexuscommerce/apikey-operator/internal/decide"
	"github.com/nexuscommerce/apikey-operator/internal/feed"
	"github.com/nexuscommerce/apikey-operator/internal/gctuning"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/kubeauth"
	"github.com/nexuscommerce/apikey-operator/internal/monitor"
	"github.com/nexuscommerce/apikey-operator/internal/serving"
	"github.com/nexuscommerce/apikey-operator/internal/surface/explain"
	"github.com/nexuscommerce/apikey-operator/internal/usage"
)

const programName = "apikey-verifier"

// explainPath is the path that a ClusterRole in config/rbac grants access to.
const explainPath = "/debug/explain"

func main() {
	if len(os.Args) > 1 && os.Args[1] == checkCommand {
		if err := check(context.Background(), os.Args[2:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, programName+":", err)
			os.Exit(1)
		}
		return
	}
	gctuning.Relax()
	gctuning.RespectContainerLimit()
	o := &options{}
	daemon.Main(programName, o, func(ctx context.Context, config *rest.Config) error { return serve(ctx, *o, config) })
}

// serve runs the verifier until the context ends.
func serve(ctx context.Context, o options, config *rest.Config) error {
	if err := o.checkAddresses(); err != nil {
		return err
	}
	registry := monitor.NewRegistry(programName)
	secure, err := newSecurity(o, registry)
	if err != nil {
		return err
	}
	guard, err := kubeauth.NewForConfig(config, kubeauth.Options{
		Audiences: o.audiences, Trust: o.trust, Log: logf.Log.WithName("caller"),
	})
	if err != nil {
		return err
	}
	decider, self, err := newReplica(o, config, registry)
	if err != nil {
		return err
	}
	if self.servers, err = serving.New(serving.Options{
		HTTPAddress: o.httpAddress, GRPCAddress: o.grpcAddress, TLS: secure.config(), Credentials: secure.overGRPC(),
		Reflection: o.grpcReflection, Ready: self.ready, Registry: registry,
		RouteOptions: serving.RouteOptions{
			Decider: decider, Guard: guard, Trust: o.trust, KeepToken: o.keepToken, ReviewAudiences: o.reviewed,
		},
	}); err != nil {
		return err
	}
	health, err := newHealth(o.healthAddress, secure, self)
	if err != nil {
		return err
	}
	// For people, so it is not served on the ports for proxies.
	debugHandlers := map[string]http.Handler{explainPath: guard.Protect(explainPath, explain.NewHandler(decider))}
	return parts{
		work:    []runnable{self.Start, startup{o.needs(), config}.Start, secure.start},
		servers: []runnable{health, secure.metrics(o, guard.WithAPIServer(), registry, debugHandlers).Start},
		timeout: o.shutdownTimeout,
		log:     logf.Log,
	}.run(ctx)
}

// newReplica returns the decider, and the replica that keeps its index up to date. Nothing runs yet.
func newReplica(o options, config *rest.Config, registry prometheus.Registerer) (*decide.Decider, *replica, error) {
	view := index.NewView()
	now := clock.New(time.Now).Now
	canary := types.NamespacedName{Namespace: o.namespace, Name: keysv1alpha1.CanaryName}
	uses, err := usage.New(usage.Options{
		Config:   config,
		Canary:   canary,
		Name:     o.name,
		Budget:   o.usageBudget,
		Log:      logf.Log.WithName("usage"),
		Clock:    now,
		Registry: registry,
	})
	if err != nil {
		return nil, nil, err
	}
	keys, err := feed.New(feed.Options{
		Config:       config,
		Canary:       canary,
		Name:         o.name,
		Pod:          os.Getenv("POD_UID"),
		MaxStaleness: o.maxStaleness,
		View:         view,
		Usage:        uses,
		Log:          logf.Log.WithName("feed"),
		Clock:        now,
		Registry:     registry,
	})
	if err != nil {
		return nil, nil, err
	}
	log, err := newAudit(o, registry)
	if err != nil {
		return nil, nil, err
	}
	tracer, err := newTracer(o)
	if err != nil {
		return nil, nil, err
	}
	self := &replica{keys: keys, usage: uses, audit: log, tracer: tracer, timeout: o.shutdownTimeout}
	return decide.New(decide.Options{
		View: view, Source: keys, Clock: now, Registry: registry, Uses: uses, Audit: log, Tracer: tracer,
	}), self, nil
}
