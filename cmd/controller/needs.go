package main

import (
	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/command"
)

// needs are what the controller can do nothing without: part of config/rbac/controller.yaml.
func (o *options) needs() command.Needs {
	read, change := []string{"get", "list", "watch"}, []string{"patch", "update"}
	group := keysv1alpha1.GroupVersion.Group
	needs := command.Needs{Timeout: o.startupTimeout}
	for _, resource := range []string{"apikeys", "tenants", "accesspolicies"} {
		needs.Permissions = append(needs.Permissions,
			command.Permission{Group: group, Resource: resource, Verbs: read},
			command.Permission{Group: group, Resource: resource + "/status", Verbs: change})
	}
	needs.Permissions = append(needs.Permissions,
		command.Permission{Resource: "namespaces", Verbs: read},
		command.Permission{Resource: "secrets", Verbs: []string{"get", "list", "watch", "create", "update", "delete"}},
		command.Permission{Group: "events.k8s.io", Resource: "events", Verbs: []string{"create", "patch"}})
	if o.leaderElect {
		needs.Permissions = append(needs.Permissions,
			command.Permission{Group: "coordination.k8s.io", Resource: "leases", Namespace: o.namespace, Name: leaseName, Verbs: []string{"get", "update"}},
			command.Permission{Group: "coordination.k8s.io", Resource: "leases", Namespace: o.namespace, Verbs: []string{"create"}})
	}
	return needs
}

// checkAddresses checks that the controller can listen where the flags say.
func (o *options) checkAddresses() error {
	return command.CheckAddresses(
		command.Address{Flag: "metrics-bind-address", Value: o.metricsAddress},
		command.Address{Flag: "health-probe-bind-address", Value: o.healthAddress})
}
