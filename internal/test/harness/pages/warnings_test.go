package pages_test

import (
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
)

func TestWarns(t *testing.T) {
	for output, want := range map[string]bool{
		"configmap/x configured": false,
		"# Warning: 'vars' is deprecated. Please use 'replacements' instead.": false,
		"# Warning: 'vars' is deprecated.\nWarning: unknown field":            true,
		"Warning: unknown field": true,
	} {
		if got := pages.Warns(output); got != want {
			t.Errorf("%q: %t", output, got)
		}
	}
}
