package console

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// TestNamesAreEscaped checks that what users write is only shown on the page, and never acted on. An object that is
// older than the rules for names may have anything.
func TestNamesAreEscaped(t *testing.T) {
	const evil = "x\n\u202egnp.exe\x1b[2J"
	future := metav1.NewTime(time.Now().Add(time.Hour))
	key := fixture.ApiKey("shop", "a", func(k *keysv1alpha1.ApiKey) { k.Spec.DisplayName = evil })
	key.Status.Credentials = []keysv1alpha1.Credential{{ID: "7Hk2PqZx"}}
	key.Status.Usage = []keysv1alpha1.CredentialUsage{{ID: "7Hk2PqZx", LastUsedTime: future}}
	key.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "False", Reason: "InvalidTemplate", Message: evil}}
	tenant := fixture.Tenant("acme", func(tenant *keysv1alpha1.Tenant) {
		tenant.Spec.DisplayName, tenant.Spec.APIBaseURL = evil, "https://a/"+evil
	})
	now := time.Now()
	all, err := newDetails(key, newRow(key, now), now)
	if err != nil {
		t.Fatal(err)
	}
	if used, err := time.Parse(time.RFC3339, all.Credentials[0].LastUsed); err != nil || used.After(now) {
		t.Errorf("used at %s, %v", all.Credentials[0].LastUsed, err)
	}
	all.YAML = "" // What a file has, which quotes it.
	catalogue := []keys.CatalogueScope{{Name: "a:b", Description: evil}}
	for what, shown := range map[string]any{
		"a row": newRow(key, now), "details": all, "a tenant": newTenantInfo(tenant), "the form": newForm(catalogue, tenant),
		"a problem":      explain(apierrors.NewBadRequest(evil)),
		"a refusal":      explain(apierrors.NewForbidden(schema.GroupResource{}, "a", errors.New(evil))),
		"a wrong field":  explain(apierrors.NewInvalid(schema.GroupKind{}, "a", nil)),
		"a stuck change": explain(&keys.StuckError{Reason: keysv1alpha1.ReasonInvalidTemplate, Message: evil}),
	} {
		text, err := json.Marshal(shown)
		if err != nil {
			t.Fatal(err)
		}
		var back any
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		everyText(back, func(value string) {
			if !printable.Is(value) {
				t.Errorf("%s has %q", what, value)
			}
		})
	}
}

// everyText calls do with every text in a JSON value.
func everyText(value any, do func(string)) {
	switch v := value.(type) {
	case string:
		do(v)
	case []any:
		for _, element := range v {
			everyText(element, do)
		}
	case map[string]any:
		for _, element := range v {
			everyText(element, do)
		}
	}
}

// TestNameOfAKey checks what the form takes as a name.
func TestNameOfAKey(t *testing.T) {
	for name, want := range map[string]bool{"Lager „Süd“": true, "a\nb": false, "a\u202eb": false, "\x1b[2J": false} {
		filled := &filledForm{Name: "a", DisplayName: name, Scopes: []string{"a:b"}}
		if got := len(filled.check()) == 0; got != want {
			t.Errorf("%q: %v", name, filled.check())
		}
	}
}
