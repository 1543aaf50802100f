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

// axePatience is long, because axe-core looks at each of the elements of 2,000 rows, beside other suites, and says
// nothing of the page's own speed.
const axePatience = 5 * time.Minute

// barrier is what axe-core calls a violation.
type barrier struct {
	ID, Impact, Help string
	Nodes            []struct {
		HTML           string
		FailureSummary string
	}
}

// checkBarriers has axe-core look at the page as it is. It runs in an isolated context, where the page's policy does
// not keep it out, and where the page does not notice it.
func (s *session) checkBarriers(name string) {
	s.t.Helper()
	world, err := proto.PageCreateIsolatedWorld{FrameID: s.page.FrameID, WorldName: "axe"}.Call(s.page)
	if err != nil {
		s.t.Fatal(err)
	}
	run := func(expression string) string {
		result, err := proto.RuntimeEvaluate{
			Expression: expression, ContextID: world.ExecutionContextID, AwaitPromise: true, ReturnByValue: true,
		}.Call(s.page.Timeout(axePatience))
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
