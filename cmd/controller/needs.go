package main

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/rollout"
	"github.com/nexuscommerce/apikey-operator/controllers/certificates"
	"github.com/nexuscommerce/apikey-operator/internal/daemon"
)

// needs returns the permissions without which the controller can do nothing: a part of config/rbac/controller.yaml.
func (o *options) needs() daemon.Needs {
	read, change := []string{"get", "list", "watch"}, []string{"patch", "update"}
	group := keysv1alpha1.GroupVersion.Group
	needs := daemon.Needs{
		Timeout:        o.startupTimeout,
		Canary:         types.NamespacedName{Namespace: o.namespace, Name: keysv1alpha1.CanaryName},
		CanaryOptional: true,
		Writes: []daemon.Write{
			{Subresource: "status", Patch: daemon.AlwaysPatch(`{"status":{"observedGeneration":1}}`)},
			{Patch: func(canary types.UID) string {
				return fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, keysv1alpha1.SealAnnotation, canary)
			}},
		},
	}
	for _, resource := range []string{"apikeys", "tenants", "accesspolicies"} {
		needs.Permissions = append(needs.Permissions,
			daemon.Permission{Group: group, Resource: resource, Verbs: read},
			daemon.Permission{Group: group, Resource: resource + "/status", Verbs: change})
	}
	needs.Permissions = append(needs.Permissions,
		daemon.Permission{Resource: "namespaces", Verbs: read},
		daemon.Permission{Group: "events.k8s.io", Resource: "events", Verbs: []string{"create", "patch"}})
	namespaces := []string{""} // all namespaces
	if len(o.served) > 0 {
		namespaces = append([]string{o.namespace}, o.served...) // o.namespace has the root keys.
	}
	for _, namespace := range namespaces {
		needs.Permissions = append(needs.Permissions,
			daemon.Permission{
				Resource: "secrets", Namespace: namespace, Verbs: []string{"get", "list", "watch", "create", "update", "delete"},
			})
	}
	if o.selfSigned {
		needs.Permissions = append(needs.Permissions,
			daemon.Permission{Resource: "configmaps", Namespace: o.namespace, Verbs: []string{"create"}},
			daemon.Permission{
				Resource: "configmaps", Namespace: o.namespace, Name: certificates.BundleName,
				Verbs: []string{"get", "list", "watch", "update"},
			})
	}
	if o.createCanary {
		needs.Permissions = append(needs.Permissions,
			daemon.Permission{Group: group, Resource: "apikeys", Namespace: o.namespace, Verbs: []string{"create"}})
	}
	if o.metricsSecure {
		needs.Permissions = append(needs.Permissions,
			daemon.Permission{Group: "authentication.k8s.io", Resource: "tokenreviews", Verbs: []string{"create"}},
			daemon.Permission{Group: "authorization.k8s.io", Resource: "subjectaccessreviews", Verbs: []string{"create"}})
	}
	leases := []string{rollout.RegistryName}
	if o.leaderElect {
		leases = append(leases, leaseName)
	}
	for _, lease := range leases {
		needs.Permissions = append(needs.Permissions,
			daemon.Permission{
				Group: "coordination.k8s.io", Resource: "leases", Namespace: o.namespace, Name: lease,
				Verbs: []string{"get", "update"},
			})
	}
	needs.Permissions = append(needs.Permissions,
		daemon.Permission{
			Group: "coordination.k8s.io", Resource: "leases", Namespace: o.namespace, Verbs: []string{"create"},
		},
		daemon.Permission{
			Group: group, Resource: "apikeys", Namespace: o.namespace, Name: keysv1alpha1.CanaryName, Verbs: []string{"patch"},
		})
	return needs
}

// checkAddresses checks that the controller can listen on the addresses of its flags.
func (o *options) checkAddresses() error {
	return daemon.CheckAddresses(
		daemon.Address{Flag: "metrics-bind-address", Value: o.metricsAddress},
		daemon.Address{Flag: "health-probe-bind-address", Value: o.healthAddress})
}
