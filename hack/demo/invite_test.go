package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestInvitation runs the lines in a shell, with programs that only record their calls: each is found on the PATH that
// the lines set, with the right arguments.
func TestInvitation(t *testing.T) {
	top := filepath.Join(t.TempDir(), "a folder") // A space must not split a path.
	bin, own, theirs := filepath.Join(top, "bin"), filepath.Join(top, "k8s"), filepath.Join(top, "theirs")
	fake(t, bin, "kubectl-apikey")
	fake(t, own, "kubectl")
	i := invitation{
		bin: bin, kubectl: filepath.Join(own, "kubectl"), kubeconfig: filepath.Join(top, "kubeconfig"),
		proxy: "127.0.0.1:8000",
	}
	page := own + `/kubectl apikey ui -n warehouse`
	plugin := bin + `/kubectl-apikey --help`

	answers := func(t *testing.T, want ...string) {
		t.Helper()
		command := exec.CommandContext(t.Context(), "sh", "-euc",
			i.setUp()+"\necho $KUBECONFIG\nkubectl-apikey --help\n"+i.open())
		command.Env = []string{"PATH=" + theirs} // Not this machine's programs.
		out, err := command.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != strings.Join(want, "\n") {
			t.Errorf("%v\ngot:\n%s\nwant:\n%s", err, got, strings.Join(want, "\n"))
		}
	}
	t.Run("without a kubectl", func(t *testing.T) { answers(t, i.kubeconfig, plugin, page) })
	t.Run("with a kubectl", func(t *testing.T) {
		fake(t, theirs, "kubectl")
		answers(t, i.kubeconfig, plugin, strings.Replace(page, own, theirs, 1))
		i.kubectl = ""
		answers(t, i.kubeconfig, plugin, strings.Replace(page, own, theirs, 1))
	})
	for _, part := range []string{
		"kubectl get apikeys -A", "http://127.0.0.1:8000/api/products", `Bearer $TOKEN"`, `"Revoked"`,
	} {
		if !strings.Contains(i.call(), part) {
			t.Errorf("%q is missing:\n%s", part, i.call())
		}
	}
}

// fake creates a program that prints its path and its arguments.
func fake(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho \"$0 $*\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
}
