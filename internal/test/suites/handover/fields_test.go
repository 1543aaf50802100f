package handover_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// fields is a set of paths of fields, such as "ApiKey status.credentials[].digest" or "ApiKey
// status.conditions[Ready].reason".
type fields map[string]bool

// add adds the paths of a value. Conditions of the kinds that come and go are left out.
func (f fields) add(path string, value any) {
	switch value := value.(type) {
	case map[string]any:
		for name, field := range value {
			f.add(path+"."+name, field)
		}
	case []any:
		for _, item := range value {
			index := ""
			if object, ok := item.(map[string]any); ok && object["lastTransitionTime"] != nil {
				index = fmt.Sprint(object["type"])
			}
			if index != "Reconciling" && index != "Stalled" {
				f.add(path+"["+index+"]", item)
			}
		}
	default:
		f[path] = true
	}
}

// missing returns the paths of others that f lacks.
func (f fields) missing(others fields) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(others)), func(path string) bool { return f[path] })
}

// statusFields returns the fields that are set in the status of the ApiKeys of a namespace, of its tenant, and of the
// AccessPolicies.
func statusFields(ctx context.Context, c client.Client, namespace, tenant string) (fields, error) {
	all := fields{}
	for _, kind := range []string{"ApiKey", "Tenant", "AccessPolicy"} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(keysv1alpha1.GroupVersion.WithKind(kind + "List"))
		var options []client.ListOption
		if kind == "ApiKey" {
			options = append(options, client.InNamespace(namespace))
		}
		if err := c.List(ctx, list, options...); err != nil {
			return nil, err
		}
		for _, object := range list.Items {
			if kind != "Tenant" || object.GetName() == tenant {
				all.add(kind+" status", object.Object["status"])
			}
		}
	}
	return all, nil
}

// missingFields is the error that fields of an earlier version's status are gone.
func missingFields(names []string) error {
	return fmt.Errorf("the other version sets status fields that are missing now: %s", strings.Join(names, ", "))
}
