package gitops_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// state is a state of an object, and how GitOps tools should assess it.
type state struct {
	name string
	// reach brings an object into the state.
	reach   func(*environment) client.Object
	kstatus status.Status
	argo    argoHealth
	// flux is the status by the health checks of config/gitops/flux, if it differs from kstatus.
	flux status.Status
}

const (
	current     = status.CurrentStatus
	inProgress  = status.InProgressStatus
	failed      = status.FailedStatus
	terminating = status.TerminatingStatus
	// unasked means that the sample for Flux has no check for the object.
	unasked status.Status = "-"
)

func TestEveryState(t *testing.T) {
	i := newInstallation(t)
	if err := i.Client.Create(t.Context(), fixture.Policy("nexuscommerce")); err != nil {
		t.Fatal(err)
	}
	assess := newAssessor(t, i)
	var seen strings.Builder
	for _, kind := range kinds {
		for _, s := range kind.states {
			t.Run(kind.name+"/"+s.name, func(t *testing.T) {
				object := live(t, i, s.reach(newEnvironment(t, i)))
				fmt.Fprintln(&seen, object.Object["status"])
				if got := assess.kstatus(t, object); got != s.kstatus {
					t.Errorf("kstatus: %s, want %s", got, s.kstatus)
				}
				if got, message := assess.argo(t, object); got != s.argo {
					t.Errorf("Argo CD: %s (%s), want %s", got, message, s.argo)
				}
				if got, want := assess.fluxStatus(t, object), s.fluxWant(); want != unasked && got != want {
					t.Errorf("Flux, with the health checks of the sample: %s, want %s", got, want)
				}
			})
		}
	}
	if t.Failed() {
		return
	}
	for _, reason := range reasons(t) {
		if !strings.Contains(seen.String(), "reason:"+reason+" ") {
			t.Errorf("no state here has the reason %s", reason)
		}
	}
}

// reasons returns the reasons of conditions that api/v1alpha1 declares.
func reasons(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), install.Config("..", "api", "v1alpha1", "conditions.go"), nil,
		parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		if constant, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(constant.Names[0].Name, "Reason") {
			literal, _ := constant.Values[0].(*ast.BasicLit)
			found = append(found, strings.Trim(literal.Value, `"`))
		}
		return true
	})
	return found
}

// TestReadmeShowsEveryState checks that the table in config/gitops/README.md is the one that is tested.
func TestReadmeShowsEveryState(t *testing.T) {
	content, err := os.ReadFile(install.Config("gitops", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds {
		table := "| " + kind.name + " | kstatus | Argo CD | Flux |\n|---|---|---|---|\n"
		for _, s := range kind.states {
			table += s.row()
		}
		if !strings.Contains(string(content), table) {
			t.Errorf("config/gitops/README.md does not have this table:\n%s", table)
		}
	}
}

func (s state) row() string {
	return fmt.Sprintf("| %s | %s | %s | %s |\n", s.name, s.kstatus, s.argo, s.fluxWant())
}

func (s state) fluxWant() status.Status {
	if s.flux != "" {
		return s.flux
	}
	return s.kstatus
}
