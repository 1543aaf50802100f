// Package released applies the validation rules of the last release, for tests of objects that were valid under them
// and no longer are.
package released

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

const twoLines = "two\nlines"

// probes are objects, by the names of their CustomResourceDefinitions, that the last release accepted and today's rules
// refuse.
var probes = map[string]func() *unstructured.Unstructured{
	"apikeys": func() *unstructured.Unstructured {
		return probe("ApiKey", map[string]any{"displayName": twoLines, "scopes": []any{"products:read"}})
	},
	"tenants": func() *unstructured.Unstructured {
		return probe("Tenant",
			map[string]any{"displayName": twoLines, "id": "3714240b-2e06-4c35-8856-ccc1c096323e",
				"apiBaseURL": "https://api.example", "namespaceSelector": map[string]any{}})
	},
	"accesspolicies": func() *unstructured.Unstructured {
		return probe("AccessPolicy",
			map[string]any{"scopes": []any{map[string]any{"name": "products:read", "description": twoLines}}})
	},
}

func probe(kind string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "keys.nexuscommerce.io/v1alpha1", "kind": kind,
		"metadata": map[string]any{"generateName": "probe-", "namespace": "default"}, "spec": spec,
	}}
}

// Under does something under the rules of the last release for a kind, which is given by its plural name, and leaves
// the API server with the rules of today.
func Under(ctx context.Context, c client.Client, plural string, do func() error) error {
	crd := &unstructured.Unstructured{}
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	if err := c.Get(ctx, types.NamespacedName{Name: plural + ".keys.nexuscommerce.io"}, crd); err != nil {
		return err
	}
	today := crd.Object["spec"]
	path := filepath.Join(controlplane.Root(), "hack", "tools", "crdcompat", "released",
		"keys.nexuscommerce.io_"+plural+".yaml")
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before := map[string]any{}
	if err := yaml.Unmarshal(content, &before); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := install(ctx, c, crd, before["spec"], probes[plural], true); err != nil {
		return err
	}
	done := do()
	if err := install(ctx, c, crd, today, probes[plural], false); err != nil {
		return err
	}
	return done
}

// install replaces a definition, and waits until the API server applies it.
func install(ctx context.Context, c client.Client, crd *unstructured.Unstructured, spec any,
	object func() *unstructured.Unstructured, takes bool) error {
	crd.Object["spec"] = spec
	if err := c.Update(ctx, crd); err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true,
		func(ctx context.Context) (bool, error) {
			return (c.Create(ctx, object(), client.DryRunAll) == nil) == takes, nil
		})
}
