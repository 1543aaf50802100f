package browser_test

import (
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// TestPage uses the page in every way that it is made for, one after another: the steps share a cluster, and each
// continues where those before it ended. At the end, it searches for the credentials and tokens that were used.
func TestPage(t *testing.T) {
	e := newEnvironment(t)
	for _, flow := range []struct {
		name string
		run  func(*environment, *testing.T)
	}{
		{"signing in and out", (*environment).signsIn},
		{"a page that says what is what", (*environment).lists},
		{"without a mouse", (*environment).keyboard},
		{"generating a key", (*environment).generates},
		{"generating with everything", (*environment).generatesWithEverything},
		{"what may not be generated", (*environment).refusesToGenerate},
		{"what others do is seen", (*environment).follows},
		{"sorting, searching and filtering", (*environment).finds},
		{"suspending and resuming", (*environment).suspends},
		{"rotating", (*environment).rotates},
		{"revoking", (*environment).revokes},
		{"the life of a key in words", (*environment).explains},
		{"who may only view", (*environment).views},
		{"who may only take away", (*environment).edits},
		{"another tenant's administrator", (*environment).staysOut},
		{"who may nothing", (*environment).mayNothing},
		{"an empty namespace", (*environment).isEmpty},
		{"a session that ends", (*environment).expires},
		{"requests from elsewhere", (*environment).refusesForgeries},
		{"behind a proxy that signs users in", (*environment).comesByProxy},
		{"on one's own machine", (*environment).servesItself},
		{"another account of one's own machine", (*environment).sharesTheMachine},
		{"the API server goes and comes back", (*environment).outlivesTheAPIServer},
		{"2,000 keys", (*environment).takesMany},
		{"how it looks", (*environment).looks},
	} {
		t.Run(flow.name, func(t *testing.T) { flow.run(e, t) })
	}
	t.Run("tokens are nowhere else", e.checkEvidence)
}

// kubectl runs kubectl as an administrator.
func (e *environment) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return install.Kubectl(t, e.ControlPlane, args...)
}
