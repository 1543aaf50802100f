package browser_test

import (
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// TestPage uses the page in every way that it is made for, one after the other: they share a cluster, and each finds what the ones
// before have left. What people sign in with, and the tokens that they are given, is looked for at the end.
func TestPage(t *testing.T) {
	w := newWorld(t)
	for _, flow := range []struct {
		name string
		run  func(*world, *testing.T)
	}{
		{"signing in and out", (*world).signsIn},
		{"a page that says what is what", (*world).lists},
		{"without a mouse", (*world).keyboard},
		{"generating a key", (*world).generates},
		{"generating with everything", (*world).generatesWithEverything},
		{"what may not be generated", (*world).refusesToGenerate},
		{"what others do is seen", (*world).follows},
		{"sorting, searching and filtering", (*world).finds},
		{"suspending and resuming", (*world).suspends},
		{"rotating", (*world).rotates},
		{"revoking", (*world).revokes},
		{"the life of a key in words", (*world).explains},
		{"who may only view", (*world).views},
		{"who may only take away", (*world).edits},
		{"another tenant's administrator", (*world).staysOut},
		{"who may nothing", (*world).mayNothing},
		{"an empty namespace", (*world).isEmpty},
		{"a session that ends", (*world).expires},
		{"requests from elsewhere", (*world).refusesForgeries},
		{"behind a proxy that signs users in", (*world).comesByProxy},
		{"on one's own machine", (*world).servesItself},
		{"another account of one's own machine", (*world).sharesTheMachine},
		{"the API server goes and comes back", (*world).outlivesTheAPIServer},
		{"2,000 keys", (*world).takesMany},
		{"how it looks", (*world).looks},
	} {
		t.Run(flow.name, func(t *testing.T) { flow.run(w, t) })
	}
	t.Run("tokens are nowhere else", w.checkEvidence)
}

// kubectl runs kubectl as an administrator.
func (w *world) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return install.Kubectl(t, w.cp, args...)
}
