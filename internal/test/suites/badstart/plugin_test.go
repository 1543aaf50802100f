package badstart_test

import (
	"os"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// exits waits until kubectl-apikey has ended, and checks how: with a code, without a stack, and with an error that has
// each of the given parts.
func exits(t *testing.T, p *program.Process, code int, parts ...string) {
	t.Helper()
	<-p.Exited()
	if got := p.ExitCode(); got != code {
		t.Errorf("it ends with %d, not %d", got, code)
	}
	said := p.Log()
	if found := trace.FindString(said); found != "" {
		t.Errorf("a stack trace (%q):\n%s", found, said)
	}
	for _, part := range append(parts, "error: ") {
		if !strings.Contains(said, part) {
			t.Errorf("no %q in:\n%s", part, said)
		}
	}
	if lines := strings.Count(said, "\n"); lines > 2 {
		t.Errorf("%d lines, where what is wrong and what to do are one each:\n%s", lines, said)
	}
}

// localKey is a command that makes a token and a manifest, and needs no cluster.
var localKey = []string{"create", "key", "--namespace=shop", "--scopes=products:read", "--local", "--format=nxc_live_",
	"--output=yaml", "--yes"}

// TestPlugin runs kubectl-apikey where it can't do what the command says.
func TestPlugin(t *testing.T) {
	binary := program.Build(t, "./cmd/kubectl-apikey")
	for name, test := range map[string]struct {
		code  int
		args  []string
		parts []string
	}{
		"a flag that isn't there": {2, []string{"list", "--no-such-flag"}, []string{"--no-such-flag", "--help"}},
		"an argument too many":    {2, []string{"list", "everything", "now"}, []string{"--help"}},
		"no kubeconfig": {1, []string{"list", "--kubeconfig=/no/such/file"},
			[]string{"/no/such/file", "Set --kubeconfig or KUBECONFIG"}},
		"no API server": {1, []string{"list", "--kubeconfig=" + unreachable(t)},
			[]string{"connection refused", "Is the API server up?"}},
		"no folder for a token": {1, append(localKey, "--token-file=/no/such/folder/token"),
			[]string{"/no/such/folder/token", fileHint}},
	} {
		t.Run(name, func(t *testing.T) { exits(t, program.Start(t, binary, test.args...), test.code, test.parts...) })
	}
	for name, test := range map[string]struct{ mount, saying string }{
		"a full disk": {`mount -t tmpfs -o size=64k none "$dir" && { head -c 1M /dev/zero >"$dir/filling" || true; }`,
			"no space left"},
		"a read-only file system": {`mount -t tmpfs -o ro none "$dir"`, "read-only file system"},
	} {
		for _, flag := range []string{"--token-file", "--manifest-file"} {
			t.Run(name+", "+flag, func(t *testing.T) {
				p := mounted(t, test.mount+" 2>/dev/null", binary, append(localKey, flag+"=$dir/file")...)
				exits(t, p, 1, "writing a new file", test.saying, fileHint)
			})
		}
	}
	t.Run("standard output without room", func(t *testing.T) {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		for _, args := range [][]string{{"--help"}, append(localKey, "--token-file="+t.TempDir()+"/token")} {
			p := program.StartTo(t, full, binary, args...)
			<-p.Exited()
			if code := p.ExitCode(); code != 1 || !strings.Contains(p.Log(), "no space left") ||
				!strings.Contains(p.Log(), fileHint) {
				t.Errorf("%v: %d\n%s", args, code, p.Log())
			}
		}
	})
	t.Run("on a cluster", func(t *testing.T) {
		cp := install.ControlPlane(t, controlplane.Options{})
		stranger, err := cp.KubeconfigFor("stranger")
		if err != nil {
			t.Fatal(err)
		}
		exits(t, program.Start(t, binary, "list", "--kubeconfig="+stranger), 1, "forbidden", "Ask for a RoleBinding")
		install.Kubectl(t, cp, "delete", "-f", install.Config("crd", "bases"))
		exits(t, program.Start(t, binary, "list", "--kubeconfig="+cp.Kubeconfig), 1,
			"Is the operator installed in this cluster?")
	})
}

const fileHint = "Name a new file, in a folder that you may write to, on a disk that has room."
