package pkgshadow_test

import (
	"testing"

	"golang.org/x/tools/go/analysis/analysistest"

	"github.com/nexuscommerce/apikey-operator/hack/tools/lint/pkgshadow"
)

// TestAnalyzer compares what is reported of the packages in testdata with the comments there that say what should be.
func TestAnalyzer(t *testing.T) {
	analysistest.Run(t, analysistest.TestData(), pkgshadow.Analyzer, "hiding", "clean", "tests")
}
