// Command lint is golangci-lint with two plugins compiled in: kube-api-linter, and this project's own pkgshadow.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/golangci/golangci-lint/v2/pkg/commands"
	"github.com/golangci/golangci-lint/v2/pkg/exitcodes"
	"github.com/golangci/plugin-module-register/register"
	_ "sigs.k8s.io/kube-api-linter" // It registers itself.

	"github.com/nexuscommerce/apikey-operator/hack/tools/lint/pkgshadow"
)

func main() {
	register.Plugin(pkgshadow.Analyzer.Name, pkgshadow.New)
	if err := commands.Execute(build()); err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(exitcodes.Failure)
	}
}

// build returns the version of golangci-lint that is linked, and of Go.
func build() commands.BuildInfo {
	result := commands.BuildInfo{Version: "unknown", GoVersion: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return result
	}
	result.GoVersion = info.GoVersion
	for _, module := range info.Deps {
		if module.Path == "github.com/golangci/golangci-lint/v2" {
			result.Version = module.Version
		}
	}
	return result
}
