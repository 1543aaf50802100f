package main

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/daemon"
)

// needs are what the verifier can prove nothing without: config/rbac/verifier.yaml, and the canary.
func (o *options) needs() daemon.Needs {
	group := keysv1alpha1.GroupVersion.Group
	needs := daemon.Needs{
		Canary:  types.NamespacedName{Namespace: o.namespace, Name: keysv1alpha1.CanaryName},
		Timeout: o.startupTimeout,
		Permissions: []daemon.Permission{
			{Group: group, Resource: "apikeys", Namespace: o.namespace, Name: keysv1alpha1.CanaryName, Verbs: []string{"patch"}},
			{Group: "authentication.k8s.io", Resource: "tokenreviews", Verbs: []string{"create"}},
			{Group: "authorization.k8s.io", Resource: "subjectaccessreviews", Verbs: []string{"create"}},
		},
	}
	for _, resource := range []string{"apikeys", "tenants", "accesspolicies"} {
		needs.Permissions = append(needs.Permissions, daemon.Permission{Group: group, Resource: resource, Verbs: []string{"get", "list", "watch"}})
	}
	if o.usageBudget > 0 {
		needs.Permissions = append(needs.Permissions, daemon.Permission{Group: group, Resource: "apikeys/status", Verbs: []string{"patch"}})
	}
	return needs
}

// checkAddresses checks that the verifier can listen where the flags say.
func (o *options) checkAddresses() error {
	return daemon.CheckAddresses(
		daemon.Address{Flag: "http-bind-address", Value: o.httpAddress},
		daemon.Address{Flag: "grpc-bind-address", Value: o.grpcAddress},
		daemon.Address{Flag: "metrics-bind-address", Value: o.metricsAddress},
		daemon.Address{Flag: "health-probe-bind-address", Value: o.healthAddress})
}

// startup ends the verifier if what it needs does not come in time. Until then it answers, and refuses: it is the feed that
// knows when requests can pass.
type startup struct {
	needs  daemon.Needs
	config *rest.Config
}

// Start returns once there is all of it.
func (s startup) Start(ctx context.Context) error {
	return s.needs.Await(ctx, s.config, logf.Log.WithName("startup"))
}
