// Package certificates signs the certificates of the installation's own servers where nobody else does: an authority of its own,
// whose certificates clients find in a ConfigMap, and for each server a Secret that its pods mount.
//
//	Secret apikey-ca-key ──▶ ConfigMap apikey-ca ──▶ Secrets apikey-verifier-tls, apikey-controller-tls, apikey-console-tls
//	the private key          what clients trust      what servers show
//
// All of it is replaced well before it ends. A new authority is in the ConfigMap for a month before it signs anything, and an old
// one stays there until nothing that it signed is in use: see decide. Each step is one write, of a new object or of the very version
// that was read, and is decided from what there is. So any of them can be cut off, and two controllers can take turns at any point.
//
// A Secret that somebody else made is never written to, and is used as it is.
package certificates

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

const (
	// steps is how many there may be in a row: a first start takes five, an authority's change fewer.
	steps = 32
	// clusterDomain is what the full names of Services end in. Where a cluster has another, clients use the shorter names.
	clusterDomain = "cluster.local"
)

// Serving are the Secrets of an installation's servers, and the Services by whose names they are reached.
var Serving = map[string][]string{
	"apikey-verifier-tls": {"apikey-verifier", "apikey-verifier-metrics"},
	ControllerSecret:      {"apikey-controller-metrics"},
	"apikey-console-tls":  {"apikey-console"},
}

// ControllerSecret is the Secret of the controller's own certificate.
const ControllerSecret = "apikey-controller-tls"

// Options are what a Controller needs.
type Options struct {
	// Client writes, and Live reads past any cache.
	Client client.Client
	Live   client.Reader
	Clock  clock.PassiveClock
	Log    logr.Logger
	// Namespace is that of everything here.
	Namespace string
	// Serving are Secrets, with the Services that each is for.
	Serving   map[string][]string
	Lifetimes Lifetimes
}

// Controller makes and replaces certificates.
type Controller struct {
	options Options
}

// NewController returns a controller that is ready to reconcile.
func NewController(options Options) *Controller { return &Controller{options} }

// Register adds the controller to a manager. The cache has the objects that carry keysv1alpha1.CertificateLabel: it says when to look.
func (c *Controller) Register(m manager.Manager, watched cache.Cache) error {
	request := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: c.options.Namespace, Name: AuthorityName}}
	toAll := func(context.Context, client.Object) []reconcile.Request { return []reconcile.Request{request} }
	return builder.ControllerManagedBy(m).
		Named("certificates").
		WatchesRawSource(source.Kind[client.Object](watched, &corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(toAll))).
		WatchesRawSource(source.Kind[client.Object](watched, &corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(toAll))).
		WatchesRawSource(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			queue.Add(request) // A new installation has nothing to watch.
			return nil
		})).
		Complete(c)
}

// Reconcile does what there is to do, and says when there will be more.
func (c *Controller) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	for range steps {
		read, now, err := c.gather(ctx)
		if err != nil {
			return reconcile.Result{}, err
		}
		todo := decide(c.options.Clock.Now(), now, c.options.Lifetimes)
		if todo.action == wait {
			for _, secret := range sortedNames(now.leaves) {
				if now.leaves[secret].foreign {
					c.options.Log.Info("A Secret that somebody else made is used as it is, and never replaced", "secret", secret)
				}
			}
			return reconcile.Result{RequeueAfter: max(todo.until.Sub(c.options.Clock.Now()), time.Second)}, nil
		}
		err = c.perform(ctx, todo, read, now)
		switch {
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), apierrors.IsNotFound(err):
			continue // Somebody else was first: look again.
		case err != nil:
			return reconcile.Result{}, fmt.Errorf("certificates, %s %s: %w", todo.action, todo.secret, err)
		}
		c.options.Log.Info("Certificates have changed", "action", todo.action, "secret", todo.secret)
	}
	return reconcile.Result{}, fmt.Errorf("certificates change all the time: something else writes to them in namespace %s", c.options.Namespace)
}

// names are those by which Services are reached.
func (c *Controller) names(services []string) []string {
	var names []string
	for _, service := range services {
		inNamespace := service + "." + c.options.Namespace
		names = append(names, service, inNamespace, inNamespace+".svc", inNamespace+".svc."+clusterDomain)
	}
	return names
}

// domains are what an authority is good for: the namespace, by all its names, and each Service by its short one.
func (c *Controller) domains() []string {
	domains := []string{c.options.Namespace + ".svc", c.options.Namespace + ".svc." + clusterDomain, c.options.Namespace}
	for _, secret := range sortedNames(c.options.Serving) {
		domains = append(domains, c.options.Serving[secret]...)
	}
	return domains
}
