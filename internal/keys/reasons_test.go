package keys_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
)

// reasonConstants returns the values of a package's string constants whose names begin with Reason, or reason.
func reasonConstants(t *testing.T, folder string) (values []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(strings.ToLower(spec.Names[0].Name), "reason") || len(spec.Values) != 1 {
				return true
			}
			literal, ok := spec.Values[0].(*ast.BasicLit)
			if !ok {
				return true
			}
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
			return true
		})
	}
	return values
}

// TestEachReasonHasOneRow checks that each reason of a condition and of a refusal has one row in the table, and that
// each row is of such a reason.
func TestEachReasonHasOneRow(t *testing.T) {
	ofConditions, refusals := reasonConstants(t, "../../api/v1alpha1"), reasonConstants(t, "../verify")
	if len(ofConditions) < 30 || len(refusals) < 20 {
		t.Fatalf("only %d reasons of conditions and %d of refusals found", len(ofConditions), len(refusals))
	}
	constants := slices.Concat(ofConditions, refusals)
	rows := map[string]int{}
	for _, row := range keys.Reasons() {
		rows[row.Name]++
		if !slices.Contains(constants, row.Name) {
			t.Errorf("%s has a row, and is no reason", row.Name)
		}
		for _, text := range []string{row.Means, row.Do} {
			if !strings.HasSuffix(text, ".") {
				t.Errorf("%s: %q is no sentence", row.Name, text)
			}
		}
	}
	for _, reason := range constants {
		if rows[reason] != 1 {
			t.Errorf("%s has %d rows in the table of reasons, and must have one", reason, rows[reason])
		}
	}
}

// TestThePageNamesNoCommands checks that the page's advice names no command: its users may have no command line.
func TestThePageNamesNoCommands(t *testing.T) {
	for _, reason := range reasonConstants(t, "../../api/v1alpha1") {
		if advice := keys.Page.Advice(reason); strings.Contains(advice, "kubectl") {
			t.Errorf("%s: the page says %q", reason, advice)
		}
	}
}

func TestConditionAdvice(t *testing.T) {
	for name, test := range map[string]struct {
		conditionType, reason string
		page, commandLine     string
	}{
		"works":              {"Ready", keysv1alpha1.ReasonReady, "", ""},
		"not served":         {"Ready", keysv1alpha1.ReasonNamespaceNotServed, "--namespaces", "--namespaces"},
		"said by Ready":      {"Stalled", keysv1alpha1.ReasonNamespaceNotServed, "", ""},
		"said by Revoked":    {"Published", keysv1alpha1.ReasonRevoked, "", ""},
		"revoked":            {"Revoked", keysv1alpha1.ReasonRevoked, "Generate another", "kubectl apikey create"},
		"a reason of theirs": {"Ready", "Whatever", "", ""},
	} {
		shown := condition(test.conditionType, "True", test.reason)
		page, commandLine := keys.Page.ConditionAdvice(&shown), keys.CommandLine.ConditionAdvice(&shown)
		if !strings.Contains(page, test.page) || (page == "") != (test.page == "") ||
			!strings.Contains(commandLine, test.commandLine) ||
			(commandLine == "") != (test.commandLine == "") {
			t.Errorf("%s: the page says %q, the command line %q", name, page, commandLine)
		}
	}
}

func TestWhere(t *testing.T) {
	unissued := func(k *keysv1alpha1.ApiKey) { k.Status.SecretName = "" }
	for name, test := range map[string]struct {
		changes []func(*keysv1alpha1.ApiKey)
		want    string
	}{
		"published": {nil, "is in Secret shop/warehouse"},
		"not yet":   {[]func(*keysv1alpha1.ApiKey){unissued}, "will be in Secret shop/warehouse"},
		"not yet, by another name": {[]func(*keysv1alpha1.ApiKey){unissued, func(k *keysv1alpha1.ApiKey) {
			k.Spec.Secret = &keysv1alpha1.SecretTemplate{Name: "other"}
		}}, "will be in Secret shop/other"},
		"revoked": {
			[]func(*keysv1alpha1.ApiKey){unissued, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked }},
			"the key is revoked",
		},
		"revoked, and Secret is left": {
			[]func(*keysv1alpha1.ApiKey){func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked }},
			"is in Secret shop/warehouse",
		},
		"made elsewhere": {
			[]func(*keysv1alpha1.ApiKey){unissued, func(k *keysv1alpha1.ApiKey) { k.Spec.Digest = &keysv1alpha1.TokenDigest{} }},
			"made elsewhere",
		},
	} {
		if got := keys.Where(working(test.changes...)); !strings.Contains(got, test.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestOverlapWarning(t *testing.T) {
	if got := keys.Page.OverlapWarning(working()); got != "" {
		t.Errorf("a key with one token: %s", got)
	}
	key := working(func(k *keysv1alpha1.ApiKey) {
		k.Status.Credentials = []keysv1alpha1.Credential{
			{ID: "7Hk2PqZx", ValidUntil: &metav1.Time{Time: now}}, {ID: "8Hk2PqZx"},
		}
	})
	for frontend, want := range map[keys.Frontend]string{
		keys.CommandLine: "ApiKey shop/warehouse is in the overlap", keys.Page: "The key is in the overlap",
	} {
		if got := frontend.OverlapWarning(key); !strings.HasPrefix(got, want) ||
			!strings.Contains(got, " at 2026-11-23T12:00:00Z.") {
			t.Errorf("%s", got)
		}
	}
}
