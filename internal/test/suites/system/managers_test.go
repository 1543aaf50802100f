package system_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// checkManagers checks that what docs/architecture.md#who-writes-what says of field managers is true of a key that was
// used, and of the canary.
func checkManagers(t *testing.T, i *install.Installation, key *keysv1alpha1.ApiKey) {
	t.Helper()
	ofStatus := managers(t, key, "f:status")
	if ofStatus["credentials"] == "" || ofStatus["usage"] == "" {
		t.Errorf("only %v of the key's status is managed", ofStatus)
	}
	for field, manager := range ofStatus {
		want := "apikey-controller Update"
		if field == "usage" || field == "lastUsedTime" {
			want = "apikey-verifier Update"
		}
		if manager != want {
			t.Errorf("status.%s of the key is managed by %s, want %s", field, manager, want)
		}
	}
	canary := &keysv1alpha1.ApiKey{}
	canary.Namespace, canary.Name = controlplane.SystemNamespace, keysv1alpha1.CanaryName
	i.Get(t, canary)
	probes := 0
	for field, manager := range managers(t, canary, "f:metadata", "f:annotations") {
		want := "apikey-controller Update" // of the seal
		if verifier, ok := strings.CutPrefix(field, keysv1alpha1.ProbeAnnotationPrefix); ok {
			probes++
			want = "apikey-verifier-" + verifier + " Apply"
		} else if field != keysv1alpha1.SealAnnotation {
			continue
		}
		if manager != want {
			t.Errorf("the annotation %s of the canary is managed by %s, want %s", field, manager, want)
		}
	}
	if probes == 0 {
		t.Error("no verifier has an annotation on the canary")
	}
}

// managers returns who manages each field below a path, and by which operation.
func managers(t *testing.T, object client.Object, path ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, entry := range object.GetManagedFields() {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(rawFields(entry), &fields); err != nil {
			t.Fatal(err)
		}
		for _, step := range path {
			below := map[string]json.RawMessage{}
			if content, ok := fields[step]; ok {
				if err := json.Unmarshal(content, &below); err != nil {
					t.Fatal(err)
				}
			}
			fields = below
		}
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if field, ok := strings.CutPrefix(name, "f:"); ok {
				found[field] = entry.Manager + " " + string(entry.Operation)
			}
		}
	}
	return found
}

func rawFields(entry metav1.ManagedFieldsEntry) []byte {
	if entry.FieldsV1 == nil {
		return []byte("{}")
	}
	return entry.FieldsV1.GetRawBytes()
}
