// Package canary creates the ApiKey through which verifiers prove their freshness, where nothing else does. The Helm
// chart has none, because a release can't contain a CustomResourceDefinition and an object of its kind; and without it
// every verifier refuses everything once its bound has passed.
package canary

import (
	"context"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// grace is how long a canary that was deleted may stay away: kubectl replace --force deletes it and creates it again. A
// verifier's bound is longer by default.
const grace = 10 * time.Second

// New returns the canary as config/verifier has it.
func New(namespace string) *keysv1alpha1.ApiKey {
	return &keysv1alpha1.ApiKey{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: keysv1alpha1.CanaryName,
			Labels: map[string]string{keysv1alpha1.CanaryLabel: "true"},
		},
		Spec: keysv1alpha1.ApiKeySpec{
			DisplayName: "Proof of the verifiers' freshness",
			Scopes:      []keysv1alpha1.Scope{"canary:none"},
			State:       keysv1alpha1.ApiKeySuspended,
		},
	}
}

type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]

// Controller creates the canary.
type Controller struct {
	client client.Client
	canary types.NamespacedName
}

// NewController returns a controller of the canary in a namespace.
func NewController(c client.Client, namespace string) *Controller {
	return &Controller{client: c, canary: types.NamespacedName{Namespace: namespace, Name: keysv1alpha1.CanaryName}}
}

// Register adds the controller to a manager. It is called at the start, and when the canary has been deleted.
func (c *Controller) Register(m manager.Manager) error {
	request := reconcile.Request{NamespacedName: c.canary}
	atStart := func(_ context.Context, queue requests) error {
		queue.Add(request) // What isn't there has no event.
		return nil
	}
	deleted := handler.Funcs{
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue requests) {
			if client.ObjectKeyFromObject(e.Object) == c.canary {
				queue.AddAfter(request, grace)
			}
		},
	}
	return builder.ControllerManagedBy(m).
		Named("canary").
		Watches(&keysv1alpha1.ApiKey{}, deleted).
		WatchesRawSource(source.Func(atStart)).
		Complete(c)
}

// Reconcile creates the canary if it is missing.
func (c *Controller) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	err := c.client.Get(ctx, c.canary, &keysv1alpha1.ApiKey{})
	if !apierrors.IsNotFound(err) {
		return reconcile.Result{}, err
	}
	canary := New(c.canary.Namespace)
	if canary.OwnerReferences, err = c.account(ctx); err != nil {
		return reconcile.Result{}, err
	}
	switch err := c.client.Create(ctx, canary); {
	case apierrors.IsAlreadyExists(err), apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return reconcile.Result{}, nil
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("creating the canary: %w", err)
	}
	logf.FromContext(ctx).Info("Created the canary, which was missing")
	return reconcile.Result{}, nil
}

// account returns the controller's own ServiceAccount as the owner of the canary, so that the garbage collector removes
// the canary with the installation. Outside of a cluster the controller has none.
func (c *Controller) account(ctx context.Context) ([]metav1.OwnerReference, error) {
	review := &authenticationv1.SelfSubjectReview{}
	switch err := c.client.Create(ctx, review); {
	case apierrors.IsForbidden(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("asking the API server whose account this is: %w", err)
	}
	user := review.Status.UserInfo
	name, own := strings.CutPrefix(user.Username, "system:serviceaccount:"+c.canary.Namespace+":")
	if !own || user.UID == "" {
		return nil, nil
	}
	return []metav1.OwnerReference{{APIVersion: "v1", Kind: "ServiceAccount", Name: name, UID: types.UID(user.UID)}}, nil
}
