package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/restclient"
)

const (
	// checkEvery is how often an unmet need is checked again.
	checkEvery = time.Second
	// checkTimeout is how long one round of checks may take.
	checkTimeout = 10 * time.Second
)

// Needs are what a program needs from the cluster before it can do its work.
type Needs struct {
	// Permissions are what the program's account must be allowed to do.
	Permissions []Permission
	// Canary is the ApiKey that freshness is proved through. It must exist unless CanaryOptional is set.
	Canary         types.NamespacedName
	CanaryOptional bool
	// Writes are changes of the canary that admission must allow. They are tried, and not stored.
	Writes []Write
	// Timeout is how long to wait for the needs. 0 means forever.
	Timeout time.Duration
}

// Permission is the right to use some verbs on one kind of object.
type Permission struct {
	// Group and Resource name the kind, such as keys.nexuscommerce.io and apikeys/status.
	Group, Resource string
	// Namespace and Name narrow the permission. Empty means all.
	Namespace, Name string
	Verbs           []string
}

// AddTimeoutFlag declares the flag for Needs.Timeout.
func AddTimeoutFlag(flags *flag.FlagSet, timeout *time.Duration) {
	flags.DurationVar(timeout, "startup-timeout", 30*time.Second,
		"How long to wait at the start for an API server that answers, the kinds and the permissions, before the process "+
			"ends and says what is lacking. 0 is for ever.")
}

// CheckTimeout validates the value of that flag.
func CheckTimeout(timeout time.Duration) error {
	if timeout < 0 {
		return fmt.Errorf("--startup-timeout=%s must not be less than nothing", timeout)
	}
	return nil
}

// Await waits until the needs are met, so the order in which an installation's objects are applied doesn't matter.
// After the timeout, its error says in one line what is missing and what to do about it. It returns early, without an
// error, if the context ends.
func (n Needs) Await(ctx context.Context, config *rest.Config, log logr.Logger) error {
	config = rest.CopyConfig(config)
	config.QPS = -1
	client, err := restclient.ForGroup(config, authorizationv1.SchemeGroupVersion, authorizationv1.AddToScheme)
	if err != nil {
		return err
	}
	var timeout <-chan time.Time
	if n.Timeout > 0 {
		timer := time.NewTimer(n.Timeout)
		defer timer.Stop()
		timeout = timer.C
	}
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for said := ""; ; {
		lacking := n.check(ctx, client, config.Host)
		if lacking == nil || ctx.Err() != nil {
			return nil
		}
		if said != lacking.Error() {
			said = lacking.Error()
			log.Info("Waiting for what the start needs", "lacking", said, "timeout", n.Timeout.String())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timeout:
			return fmt.Errorf("given up %s after the start: %w", n.Timeout, lacking)
		case <-tick.C:
		}
	}
}

// check returns an error that says which need is not met, and what to do about it.
func (n Needs) check(ctx context.Context, client rest.Interface, host string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	for _, check := range []func(context.Context, rest.Interface) error{
		n.checkVersion, n.checkKinds, n.checkPermissions, n.checkCanary,
	} {
		err := check(ctx, client)
		switch {
		case err == nil || errors.As(err, new(unmet)):
		case apierrors.IsUnauthorized(err):
			err = fmt.Errorf(
				"the API server at %s does not know this account (%w): set --kubeconfig or KUBECONFIG to one that it knows, or "+
					"in a pod look at its service account",
				host, err,
			)
		case apierrors.ReasonForError(err) != metav1.StatusReasonUnknown:
			err = fmt.Errorf("the API server at %s answers with an error (%w): fix what it says", host, err)
		default:
			err = fmt.Errorf(
				"the API server at %s can't be reached (%w): check the address, its certificate, and the network to it", host, err,
			)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unmet is the error of a need that is not met, with what to do about it.
type unmet string

// Error implements error.
func (u unmet) Error() string { return string(u) }

// checkKinds checks that the API server serves the project's kinds.
func (Needs) checkKinds(ctx context.Context, client rest.Interface) error {
	version := keysv1alpha1.GroupVersion.String()
	list := &metav1.APIResourceList{}
	if err := client.Get().AbsPath("/apis", version).Do(ctx).Into(list); err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	for _, resource := range []string{"apikeys", "tenants", "accesspolicies"} {
		if !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == resource }) {
			return unmet(fmt.Sprintf(
				"the API server has no %s of %s: install the kinds with kubectl apply --server-side -k config/crd", resource,
				version,
			))
		}
	}
	return nil
}

// checkPermissions checks that the account has the permissions.
func (n Needs) checkPermissions(ctx context.Context, client rest.Interface) error {
	var denied []string
	for _, p := range n.Permissions {
		var verbs []string
		for _, verb := range p.Verbs {
			allowed, err := p.allowed(ctx, client, verb)
			if err != nil {
				return err
			}
			if !allowed {
				verbs = append(verbs, verb)
			}
		}
		if len(verbs) > 0 {
			denied = append(denied, strings.Join(verbs, ", ")+" "+p.String())
		}
	}
	if len(denied) > 0 {
		return unmet(fmt.Sprintf(
			"this account may not %s: apply config/rbac as it is, for the namespace that --namespace names; a cluster has one "+
				"installation, and kubectl get clusterrolebinding apikey-controller -o wide shows its namespace",
			strings.Join(denied, "; "),
		))
	}
	return nil
}

// allowed asks the API server whether this account may use a verb. Every account may ask that.
func (p Permission) allowed(ctx context.Context, client rest.Interface, verb string) (bool, error) {
	resource, subresource, _ := strings.Cut(p.Resource, "/")
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Group: p.Group, Resource: resource, Subresource: subresource, Namespace: p.Namespace, Name: p.Name, Verb: verb,
		},
	}}
	answer := &authorizationv1.SelfSubjectAccessReview{}
	err := client.Post().Resource("selfsubjectaccessreviews").Body(review).Do(ctx).Into(answer)
	return answer.Status.Allowed, err
}

// String returns the permission as people write it.
func (p Permission) String() string {
	text := p.Resource
	if p.Group != "" {
		text += "." + p.Group
	}
	if p.Name != "" {
		text += " named " + p.Name
	}
	if p.Namespace != "" {
		text += " in namespace " + p.Namespace
	}
	return text
}
