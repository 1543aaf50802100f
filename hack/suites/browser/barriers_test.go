package browser_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-rod/rod/lib/proto"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// axe reads axe-core, which make axe brings.
func axe(t *testing.T) string {
	t.Helper()
	need.Program(t, "axe-core")
	source, err := os.ReadFile(need.AxeCore())
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// axeTimeout is long, because axe-core inspects every element of 2,000 rows while other suites run. It says nothing
// about the page's own speed.
const axeTimeout = 5 * time.Minute

// barrier is what axe-core calls a violation.
type barrier struct {
	ID, Impact, Help string
	Nodes            []struct {
		HTML           string
		FailureSummary string
	}
}

// checkBarriers runs axe-core on the page as it is, in an isolated context, where the page's policy does not block it
// and the page does not notice it.
func (s *browserSession) checkBarriers(name string) {
	s.t.Helper()
	isolated, err := proto.PageCreateIsolatedWorld{FrameID: s.page.FrameID, WorldName: "axe"}.Call(s.page)
	if err != nil {
		s.t.Fatal(err)
	}
	run := func(expression string) string {
		result, err := proto.RuntimeEvaluate{
			Expression: expression, ContextID: isolated.ExecutionContextID, AwaitPromise: true, ReturnByValue: true,
		}.Call(s.page.Timeout(axeTimeout))
		if err != nil {
			s.t.Fatal(err)
		}
		if result.ExceptionDetails != nil {
			s.t.Fatalf("axe-core: %s", result.ExceptionDetails.Exception.Description)
		}
		return result.Result.Value.Str()
	}
	run(axe(s.t) + `; ""`)
	var found []barrier
	if err := json.Unmarshal(
		[]byte(run(`axe.run(document, {resultTypes: ["violations"]}).then(all =>
		  JSON.stringify(all.violations))`)), &found); err != nil {
		s.t.Fatal(err)
	}
	for _, problem := range found {
		var where strings.Builder
		for _, node := range problem.Nodes {
			where.WriteString("\n\t" + node.HTML + "\n\t" + strings.ReplaceAll(node.FailureSummary, "\n", " "))
		}
		if problem.Impact == "serious" || problem.Impact == "critical" {
			s.t.Errorf("%s: axe-core: %s (%s): %s%s", name, problem.ID, problem.Impact, problem.Help, where.String())
		} else {
			s.t.Logf("%s: axe-core: %s (%s): %s%s", name, problem.ID, problem.Impact, problem.Help, where.String())
		}
	}
}
