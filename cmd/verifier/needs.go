package main

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/daemon"
)

// needs returns what the verifier needs to prove that its index is fresh: the permissions of config/rbac/verifier.yaml,
// and the canary.
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
		read := daemon.Permission{Group: group, Resource: resource, Verbs: []string{"get", "list", "watch"}}
		needs.Permissions = append(needs.Permissions, read)
	}
	needs.Writes = []daemon.Write{{Patch: daemon.AlwaysPatch(
		fmt.Sprintf(`{"metadata":{"annotations":{%q:"startup"}}}`, keysv1alpha1.ProbeAnnotationPrefix+o.name))}}
	if o.usageBudget > 0 {
		patch := daemon.Permission{Group: group, Resource: "apikeys/status", Verbs: []string{"patch"}}
		needs.Permissions = append(needs.Permissions, patch)
		needs.Writes = append(needs.Writes, daemon.Write{
			Subresource: "status", Patch: daemon.AlwaysPatch(`{"status":{"lastUsedTime":"2000-01-01T00:00:00Z"}}`),
		})
	}
	return needs
}

// checkAddresses checks that the verifier can listen on the addresses of its flags.
func (o *options) checkAddresses() error {
	return daemon.CheckAddresses(
		daemon.Address{Flag: "http-bind-address", Value: o.httpAddress},
		daemon.Address{Flag: "grpc-bind-address", Value: o.grpcAddress},
		daemon.Address{Flag: "metrics-bind-address", Value: o.metricsAddress},
		daemon.Address{Flag: "health-probe-bind-address", Value: o.healthAddress})
}

// startup ends the verifier if its needs are not met in time. Until they are, the verifier refuses every request,
// because its index is not fresh.
type startup struct {
	needs  daemon.Needs
	config *rest.Config
}

// Start returns once the needs are met.
func (s startup) Start(ctx context.Context) error {
	return s.needs.Await(ctx, s.config, logf.Log.WithName("startup"))
}
