// Package pkgshadow is a linter. It reports variables, parameters, results, receivers, constants and types of a
// function that have the name of a function or a type of their package. Below such a declaration the name means another
// thing than everywhere else in the package, so a reader who knows the package misreads it:
//
//	func expiry(key Key) time.Time { … }
//
//	func report(key Key) string {
//		expiry := expiry(key) // From here on, expiry is no function.
//		…
//	}
//
// Variables and constants of the package don't count, nor do imports. Names of the package's tests count in its tests
// only.
package pkgshadow

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"strings"

	"github.com/golangci/plugin-module-register/register"
	"golang.org/x/tools/go/analysis"
)

// Analyzer is the linter.
var Analyzer = &analysis.Analyzer{
	Name: "pkgshadow",
	Doc:  "reports local names that hide a function or a type of the package",
	Run:  run,
}

// New returns the linter for golangci-lint. It has no settings.
func New(any) (register.LinterPlugin, error) { return plugin{}, nil }

// plugin makes the analyzer one of golangci-lint's linters.
type plugin struct{}

// BuildAnalyzers returns the analyzer.
func (plugin) BuildAnalyzers() ([]*analysis.Analyzer, error) {
	return []*analysis.Analyzer{Analyzer}, nil
}

// GetLoadMode says that the analyzer needs types.
func (plugin) GetLoadMode() string { return register.LoadModeTypesInfo }

func run(pass *analysis.Pass) (any, error) {
	for _, file := range pass.Files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				if local := pass.TypesInfo.Defs[n]; local != nil && isLocal(local) {
					check(pass, n, kind(local))
				}
			case *ast.TypeSwitchStmt: // Each of its cases has a variable of its own, which no identifier defines.
				if assign, ok := n.Assign.(*ast.AssignStmt); ok {
					if local, ok := assign.Lhs[0].(*ast.Ident); ok {
						check(pass, local, "variable")
					}
				}
			}
			return true
		})
	}
	return nil, nil
}

// isLocal reports whether an object is declared in a function or in a function's signature. Methods, fields and labels
// hide nothing.
func isLocal(o types.Object) bool {
	switch o := o.(type) {
	case *types.Var:
		return !o.IsField() && o.Parent() != o.Pkg().Scope()
	case *types.Const:
		return o.Parent() != o.Pkg().Scope()
	case *types.TypeName:
		_, parameter := o.Type().(*types.TypeParam)
		return parameter || o.Parent() != o.Pkg().Scope()
	}
	return false
}

// kind names the kind of a local object.
func kind(o types.Object) string {
	switch o := o.(type) {
	case *types.Var:
		switch o.Kind() {
		case types.RecvVar:
			return "receiver"
		case types.ParamVar:
			return "parameter"
		case types.ResultVar:
			return "result"
		}
	case *types.Const:
		return "constant"
	case *types.TypeName:
		return "type"
	}
	return "variable"
}

// check reports a local name, of a kind, if it is that of a function or a type of the package.
func check(pass *analysis.Pass, local *ast.Ident, of string) {
	hidden := pass.Pkg.Scope().Lookup(local.Name)
	var what string
	switch hidden.(type) {
	case *types.Func:
		what = "function"
	case *types.TypeName:
		what = "type"
	default:
		return
	}
	if inTest(pass, hidden.Pos()) && !inTest(pass, local.Pos()) {
		return
	}
	pass.Report(analysis.Diagnostic{
		Pos: local.Pos(), End: local.End(),
		Message: fmt.Sprintf("%s %s hides the package's %s of that name", of, local.Name, what),
	})
}

// inTest reports whether a position is in a test's file.
func inTest(pass *analysis.Pass, pos token.Pos) bool {
	return strings.HasSuffix(pass.Fset.Position(pos).Filename, "_test.go")
}
