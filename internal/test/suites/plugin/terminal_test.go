package plugin_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// onTerminal runs the plugin on a terminal of its own, by script(1), which util-linux has everywhere, and types an answer.
func (i *installation) onTerminal(t *testing.T, answer, line string) (screen string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, need.Program(t, "script"), "--quiet", "--return", "--command", i.plugin+" "+line, os.DevNull)
	command.Dir = i.folder
	command.Env = append(os.Environ(), "KUBECONFIG="+i.cp.Kubeconfig, "HOME="+i.folder)
	command.Stdin = strings.NewReader(answer)
	out, err := command.CombinedOutput()
	t.Logf("kubectl apikey %s: %v", line, err)
	return string(out)
}

// asksATerminal checks what only a terminal gets: the token without --yes, and the question before a revocation.
func (i *installation) asksATerminal(t *testing.T) {
	screen := i.onTerminal(t, "", "create on-screen -n warehouse --scopes products:read --show")
	if want := i.token(t, "warehouse", "on-screen"); strings.Count(screen, want) != 1 {
		t.Error("the token is not on the screen, or more than once")
	}

	screen = i.onTerminal(t, "n\n", "revoke on-screen -n warehouse")
	contains(t, screen, "warehouse/on-screen", "last used Never", "Revoke this key? [y/N]", "nothing was changed")
	if state := i.key(t, "warehouse", "on-screen").Spec.State; state != keysv1alpha1.ApiKeyActive {
		t.Errorf("it is %s although nobody said yes", state)
	}
	i.onTerminal(t, "y\n", "revoke on-screen -n warehouse")
	if state := i.key(t, "warehouse", "on-screen").Spec.State; state != keysv1alpha1.ApiKeyRevoked {
		t.Errorf("it is %s", state)
	}
}
