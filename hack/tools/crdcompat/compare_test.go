package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

// version returns the first version of a CustomResourceDefinition.
func version(crd object) object { return list(get(crd, "spec", "versions"))[0].(object) }

// field returns the schema of a field, by a path of names; [] is an element of a list.
func field(crd object, path string) object {
	schema := get(version(crd), "schema", "openAPIV3Schema").(object)
	for name := range strings.SplitSeq(path, ".") {
		if name == "[]" {
			schema = schema["items"].(object)
			continue
		}
		schema = get(schema, "properties", name).(object)
	}
	return schema
}

// manifest reads one of this project's CustomResourceDefinitions.
func manifest(t *testing.T, name string) object {
	t.Helper()
	crd, err := read(filepath.Join(controlplane.Root(), "config", "crd", "bases", "keys.nexuscommerce.io_"+name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return crd
}

// TestBreaks makes one change after another to this project's CRDs. Each break is reported once, and says where it is.
func TestBreaks(t *testing.T) {
	for name, test := range map[string]struct {
		kind   string
		change func(crd object)
		want   string
	}{
		"a field is gone": {"apikeys", func(crd object) {
			delete(field(crd, "spec")["properties"].(object), "allowedCIDRs")
		}, "spec.allowedCIDRs: the field is gone"},
		"a status field is gone": {"apikeys", func(crd object) {
			delete(field(crd, "status")["properties"].(object), "prefix")
		}, "status.prefix: the field is gone"},
		"a deep field is gone": {"apikeys", func(crd object) {
			delete(field(crd, "status.credentials.[]")["properties"].(object), "digest")
		}, "status.credentials[].digest: the field is gone"},
		"another type": {"tenants", func(crd object) {
			field(crd, "spec.maxKeys")["type"] = "string"
		}, "spec.maxKeys: type: was integer, is string"},
		"another format": {"tenants", func(crd object) {
			field(crd, "spec.maxKeys")["format"] = "int64"
		}, "spec.maxKeys: format: was int32, is int64"},
		"a field is required now": {"apikeys", func(crd object) {
			field(crd, "spec")["required"] = []any{"scopes", "displayName"}
		}, "spec.displayName: is required now"},
		"a new field is required": {"apikeys", func(crd object) {
			field(crd, "spec")["properties"].(object)["team"] = object{"type": "string"}
			field(crd, "spec")["required"] = []any{"scopes", "team"}
		}, "spec.team: is required now"},
		"a lower maximum": {"tenants", func(crd object) {
			field(crd, "spec.maxKeys")["maximum"] = int64(100)
		}, "spec.maxKeys: maximum: was 500, is 100"},
		"a maximum": {"apikeys", func(crd object) {
			field(crd, "metadata")["maxProperties"] = int64(1)
		}, "metadata: maxProperties: was not there, is 1"},
		"a higher minimum": {"tenants", func(crd object) {
			field(crd, "spec.maxKeys")["minimum"] = int64(5)
		}, "spec.maxKeys: minimum"},
		"fewer elements": {"apikeys", func(crd object) {
			field(crd, "spec.scopes")["maxItems"] = int64(8)
		}, "spec.scopes: maxItems"},
		"shorter elements": {"apikeys", func(crd object) {
			field(crd, "spec.scopes.[]")["maxLength"] = int64(8)
		}, "spec.scopes[]: maxLength"},
		"a value fewer": {"apikeys", func(crd object) {
			field(crd, "spec.state")["enum"] = []any{"Active", "Revoked"}
		}, "spec.state: enum"},
		"values where any was fine": {"apikeys", func(crd object) {
			field(crd, "spec.displayName")["enum"] = []any{"Storefront"}
		}, "spec.displayName: enum"},
		"a pattern": {"apikeys", func(crd object) {
			field(crd, "spec.displayName")["pattern"] = "^[a-z]+$"
		}, "spec.displayName: pattern"},
		"a rule": {"apikeys", func(crd object) {
			field(crd, "spec.scopes")["x-kubernetes-validations"] = []any{object{"rule": "size(self) == 1"}}
		}, "spec.scopes: a new rule: size(self) == 1"},
		"another default": {"apikeys", func(crd object) {
			field(crd, "spec.state")["default"] = "Suspended"
		}, "spec.state: default"},
		"another list type": {"apikeys", func(crd object) {
			field(crd, "spec.scopes")["x-kubernetes-list-type"] = "atomic"
		}, "spec.scopes: x-kubernetes-list-type"},
		"a keyword nobody knows": {"apikeys", func(crd object) {
			field(crd, "spec.scopes")["x-kubernetes-new"] = true
		}, "spec.scopes: x-kubernetes-new"},
		"a version is gone": {"apikeys", func(crd object) {
			version(crd)["name"] = "v1beta1"
		}, "version v1alpha1 is not served any more"},
		"a version is not served": {"apikeys", func(crd object) {
			version(crd)["served"] = false
		}, "version v1alpha1 is not served any more"},
		"another scope": {"tenants", func(crd object) {
			crd["spec"].(object)["scope"] = "Namespaced"
		}, "scope: was Cluster, is Namespaced"},
		"another kind": {"tenants", func(crd object) {
			get(crd, "spec", "names").(object)["kind"] = "Customer"
		}, "kind: was Tenant, is Customer"},
		"a short name is gone": {"apikeys", func(crd object) {
			delete(get(crd, "spec", "names").(object), "shortNames")
		}, "the short name nxkey is gone"},
		"no status subresource": {"apikeys", func(crd object) {
			delete(version(crd), "subresources")
		}, "the subresource status is gone"},
		"no field selectors": {"apikeys", func(crd object) {
			version(crd)["selectableFields"] = list(version(crd)["selectableFields"])[1:]
		}, "objects can't be selected by"},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := manifest(t, test.kind), manifest(t, test.kind)
			test.change(after)
			breaks := compare(before, after)
			if len(breaks) != 1 || !strings.Contains(breaks[0], test.want) {
				t.Errorf("%q, want %q", breaks, test.want)
			}
		})
	}
}

// TestCompatible makes changes that accept everything that was accepted before.
func TestCompatible(t *testing.T) {
	for name, change := range map[string]func(crd object){
		"none": func(object) {},
		"a new field": func(crd object) {
			field(crd, "spec")["properties"].(object)["team"] = object{"type": "string", "maxLength": int64(9)}
		},
		"another description": func(crd object) { field(crd, "spec.scopes")["description"] = "Otherwise." },
		"more elements":       func(crd object) { field(crd, "spec.scopes")["maxItems"] = int64(1000) },
		"any number":          func(crd object) { delete(field(crd, "spec.scopes"), "maxItems") },
		"a value more": func(crd object) {
			field(crd, "spec.state")["enum"] = []any{"Active", "Paused", "Suspended", "Revoked"}
		},
		"no pattern":  func(crd object) { delete(field(crd, "spec.scopes.[]"), "pattern") },
		"fewer rules": func(crd object) { delete(field(crd, "spec"), "x-kubernetes-validations") },
		"a default":   func(crd object) { field(crd, "spec.displayName")["default"] = "A key" },
		"required, by default": func(crd object) {
			field(crd, "spec")["required"] = append(slices.Clone(list(field(crd, "spec")["required"])), "state")
		},
		"another version": func(crd object) {
			spec := crd["spec"].(object)
			spec["versions"] = append(list(spec["versions"]), object{"name": "v1", "served": true, "schema": object{}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			before, after := manifest(t, "apikeys"), manifest(t, "apikeys")
			change(after)
			if breaks := compare(before, after); len(breaks) > 0 {
				t.Errorf("%q", breaks)
			}
		})
	}
}

// TestFolders checks that what was released is compared with what is in the tree, and that a missing CRD is a break.
func TestFolders(t *testing.T) {
	released := filepath.Join(controlplane.Root(), "hack", "tools", "crdcompat", "released")
	breaks, err := compareFolders(released, t.TempDir())
	if err != nil || len(breaks) != 3 || !strings.Contains(breaks[0], "the kind is gone") {
		t.Errorf("%q, %v", breaks, err)
	}
	if _, err := compareFolders(t.TempDir(), released); err == nil {
		t.Error("nothing to compare with is no error")
	}
}

// TestAccepted checks that accepted breaks are left out and no others, and that an accepted break must exist.
func TestAccepted(t *testing.T) {
	accepted := filepath.Join(t.TempDir(), "accepted.txt")
	if err := os.WriteFile(accepted, []byte("# Why.\n\na.yaml: spec.x: a new rule: self.matches(\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := withoutAccepted([]string{
		"a.yaml: spec.x: a new rule: self.matches('a')", "a.yaml: spec.y: the field is gone",
	}, accepted)
	if err != nil || !slices.Equal(got, []string{"a.yaml: spec.y: the field is gone"}) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := withoutAccepted([]string{"a.yaml: spec.y: the field is gone"}, accepted); err == nil {
		t.Error("what isn't broken is accepted")
	}
}
