// Package certificates issues the certificates of the installation's own servers, if nothing else does. It has an
// authority of its own, whose certificates clients find in a ConfigMap, and keeps for each server a Secret that its
// pods mount.
//
//	Secret apikey-ca-key ─▶ ConfigMap apikey-ca ─▶ Secrets apikey-{verifier,controller,console}-tls
//	the private key         what clients trust     what servers present
//
// Everything is replaced well before it expires. A new authority is in the ConfigMap for a month before it signs
// anything, and an old one stays there until nothing that it signed is in use.
//
//	gather ── reads all objects, past the cache
//	decide ── what to do next: pure
//	perform ─ does it, by one write
//
// Each write creates an object, or replaces exactly the version that was read. So a reconciliation can be cut off after
// any write, and two controllers can alternate at any point.
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

	"github.com/nexuscommerce/apikey-operator/controllers/internal/status"
)

const (
	// maxSteps is how many steps one reconciliation makes at most. A new installation needs five, and the replacement of
	// an authority fewer.
	maxSteps = 32
	// clusterDomain is the end of the full names of Services. In a cluster with another domain, clients use the shorter
	// names.
	clusterDomain = "cluster.local"
)

// Serving maps the Secret of each of an installation's servers to the Services by whose names the server is reached.
var Serving = map[string][]string{
	"apikey-verifier-tls": {"apikey-verifier", "apikey-verifier-metrics"},
	ControllerSecret:      {"apikey-controller-metrics"},
	"apikey-console-tls":  {"apikey-console"},
}

// ControllerSecret is the Secret of the controller's own certificate.
const ControllerSecret = "apikey-controller-tls"

// Options are what a Controller needs. All of them are required.
type Options struct {
	// Client writes, and Live reads past any cache.
	Client client.Client
	Live   client.Reader
	Clock  clock.PassiveClock
	Log    logr.Logger
	// Namespace is the namespace of all Secrets and of the ConfigMap.
	Namespace string
	// Serving maps the Secret of each server to the Services by whose names the server is reached.
	Serving   map[string][]string
	Lifetimes Lifetimes
}

// Controller issues and replaces certificates.
type Controller struct {
	options Options
}

// NewController returns a controller that is ready to reconcile.
func NewController(options Options) *Controller { return &Controller{options} }

// Register adds the controller to a manager. It is called when an object in the watched cache changes, which holds the
// objects that have keysv1alpha1.CertificateLabel.
func (c *Controller) Register(m manager.Manager, watched cache.Cache) error {
	request := reconcile.Request{
		NamespacedName: types.NamespacedName{Namespace: c.options.Namespace, Name: AuthorityName},
	}
	toAll := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{request}
	})
	atStart := func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		queue.Add(request) // A new installation has nothing to watch.
		return nil
	}
	return builder.ControllerManagedBy(m).
		Named("certificates").
		WatchesRawSource(source.Kind[client.Object](watched, &corev1.Secret{}, toAll)).
		WatchesRawSource(source.Kind[client.Object](watched, &corev1.ConfigMap{}, toAll)).
		WatchesRawSource(source.Func(atStart)).
		Complete(c)
}

// Reconcile does all that is due, step by step, and asks to be called again when something else is.
func (c *Controller) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	for range maxSteps {
		read, found, err := c.gather(ctx)
		if err != nil {
			return reconcile.Result{}, err
		}
		todo := decide(c.options.Clock.Now(), found, c.options.Lifetimes)
		if todo.action == wait {
			c.logForeign(found)
			return reconcile.Result{RequeueAfter: max(todo.until.Sub(c.options.Clock.Now()), time.Second)}, nil
		}
		err = c.perform(ctx, todo, read, found)
		if apierrors.IsNotFound(err) {
			continue // The object was deleted since it was read: the next step creates it.
		}
		if err != nil {
			return status.Retry(ctx, fmt.Errorf("certificates, %s %s: %w", todo.action, todo.secret, err))
		}
		c.options.Log.Info("Certificates have changed", "action", todo.action, "secret", todo.secret)
	}
	return reconcile.Result{}, fmt.Errorf(
		"certificates change all the time: something else writes to them in namespace %s", c.options.Namespace)
}

// logForeign logs the Secrets that somebody else made.
func (c *Controller) logForeign(found *state) {
	for _, secret := range sortedNames(found.leaves) {
		if found.leaves[secret].foreign {
			c.options.Log.Info("A Secret that somebody else made is used as it is, and never replaced", "secret", secret)
		}
	}
}

// names returns the names by which Services are reached.
func (c *Controller) names(services []string) []string {
	var names []string
	for _, service := range services {
		inNamespace := service + "." + c.options.Namespace
		names = append(names, service, inNamespace, inNamespace+".svc", inNamespace+".svc."+clusterDomain)
	}
	return names
}

// domains returns the names that an authority is valid for: the namespace, by all its names, and each Service by its
// short one.
func (c *Controller) domains() []string {
	svc := c.options.Namespace + ".svc"
	domains := []string{svc, svc + "." + clusterDomain, c.options.Namespace}
	for _, secret := range sortedNames(c.options.Serving) {
		domains = append(domains, c.options.Serving[secret]...)
	}
	return domains
}
