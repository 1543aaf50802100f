package faults_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// longBound is the bound of a verifier that is cut off: long enough to remove its annotation in the meantime.
const longBound = 8 * time.Second

// testbed is an installation with a controller, and with verifiers that can be cut off from the API server.
type testbed struct {
	*install.Installation

	t         *testing.T
	tenant    *keysv1alpha1.Tenant
	namespace string
}

func newTestbed(t *testing.T) *testbed {
	t.Helper()
	b := &testbed{Installation: newInstallation(t), t: t}
	tenant, namespace := b.NewTenant(t)
	b.tenant, b.namespace = tenant, namespace.Name
	b.restart()
	return b
}

// restart kills the controller, if there is one, and starts another.
func (b *testbed) restart() {
	b.t.Helper()
	if b.Controller != nil {
		b.Controller.Kill()
	}
	b.Controller = b.StartController(b.t, install.ControllerOptions{})
}

// mint creates a key and waits until it is ready.
func (b *testbed) mint(t *testing.T) *fixture.Issued {
	t.Helper()
	key := fixture.ApiKey(b.namespace, fixture.Name("key"))
	return &fixture.Issued{Tenant: b.tenant, Key: key, Token: b.Mint(t, key)}
}

// onWire starts a verifier that can be cut off.
func (b *testbed) onWire(t *testing.T, name string) (*subject, *wire) {
	t.Helper()
	w := newWire(t, b.Config)
	kubeconfig, err := b.ServiceAccountKubeconfigAt("apikey-verifier", w.url())
	if err != nil {
		t.Fatal(err)
	}
	v := launch(t, b.Installation, kubeconfig, name, longBound)
	v.await("a verifier that is ready", v.ready)
	return v, w
}

// replica starts a verifier that is not cut off.
func (b *testbed) replica(t *testing.T, name string) *subject {
	t.Helper()
	return launch(t, b.Installation, "", name, longBound)
}

// asks polls the verifier with a key, and waits until it is allowed.
func (v *subject) asks(issued *fixture.Issued) {
	v.t.Helper()
	v.goes = v.call(issued)
	v.await("a key that passes", func() error { return v.goes.last(http.StatusOK) })
}

// leaves asks the verifier to stop, and waits until it has.
func (v *subject) leaves() {
	v.t.Helper()
	if code := v.Terminate(timeout); code != 0 {
		v.t.Errorf("the verifier ended with %d", code)
	}
}

// revoked revokes a key, and returns when that was committed and when its status reported it as effective.
func (b *testbed) revoked(t *testing.T, key *keysv1alpha1.ApiKey) (began, effective time.Time) {
	t.Helper()
	b.Revoke(t, key)
	began = time.Now()
	b.Await(t, key, keysv1alpha1.ConditionRevocationEffective)
	return began, time.Now()
}

// canary returns the current canary.
func (b *testbed) canary(t *testing.T) *keysv1alpha1.ApiKey {
	t.Helper()
	canary := &keysv1alpha1.ApiKey{}
	canary.Namespace, canary.Name = controlplane.SystemNamespace, keysv1alpha1.CanaryName
	b.Get(t, canary)
	return canary
}

// TestCanaryReplaced cuts off one of two verifiers, and removes its annotation from the canary. A revocation becomes
// effective only once that verifier refuses the key, and then it does.
func TestCanaryReplaced(t *testing.T) {
	b := newTestbed(t)
	file := install.Config("verifier", "canary.yaml")
	healthy := b.replica(t, "healthy")
	healthy.await("a verifier that is ready", healthy.ready)
	replace := func(t *testing.T) { install.Kubectl(t, b.ControlPlane, "replace", "-f", file) }
	recreate := func(t *testing.T) { install.Kubectl(t, b.ControlPlane, "replace", "--force", "-f", file) }
	strip := func(t *testing.T) {
		for annotation := range b.canary(t).Annotations {
			if strings.HasPrefix(annotation, keysv1alpha1.ProbeAnnotationPrefix) {
				install.Kubectl(t, b.ControlPlane, "annotate", "apikey", "-n", controlplane.SystemNamespace,
					keysv1alpha1.CanaryName,
					annotation+"-")
			}
		}
	}
	whileDown := func(do func(*testing.T)) func(*testing.T) {
		return func(t *testing.T) {
			b.Controller.Kill()
			do(t)
			b.restart()
		}
	}
	for name, takeAway := range map[string]func(*testing.T){
		"by replacing":    replace,
		"with the object": recreate,
		"one by one":      strip,
		"by replacing, and the controller restarts": func(t *testing.T) { replace(t); b.restart() },
		"with the object while no controller runs":  whileDown(recreate),
		"one by one while no controller runs":       whileDown(strip),
	} {
		t.Run(name, func(t *testing.T) {
			cutOff, w := b.onWire(t, fixture.Name("verifier"))
			issued := b.mint(t)
			cutOff.asks(issued)
			w.become(stalls)
			stalled := time.Now()
			takeAway(t)
			_, effective := b.revoked(t, issued.Key)
			if n := cutOff.goes.got(http.StatusOK, stalled); n == 0 {
				t.Error("the verifier that is cut off accepted nothing: this shows nothing")
			}
			if took := effective.Sub(stalled); took > 3*longBound {
				t.Errorf("effective only after %s", took)
			}
			cutOff.await("a refusal after that", func() error { return refusedSince(cutOff.goes, effective) })
			cutOff.goes.neverAcceptedSince(t, effective)
			w.become(passes)
			w.cut()
			cutOff.await("a verifier that is back", cutOff.ready)
			cutOff.leaves()
		})
	}
}

// refusedSince returns an error unless enough requests were refused that were sent since a time.
func refusedSince(c *caller, since time.Time) error {
	if n := c.got(http.StatusForbidden, since) + c.got(http.StatusUnauthorized, since); n < 50 {
		return fmt.Errorf("%d refusals", n)
	}
	return nil
}

// TestOneName runs two verifiers with one name.
func TestOneName(t *testing.T) {
	b := newTestbed(t)

	t.Run("both refuse everything until one has ended", func(t *testing.T) {
		first, _ := b.onWire(t, "both")
		first.asks(b.mint(t))
		second := b.replica(t, "both")
		for _, v := range []*subject{first, second} {
			v.await("a replica that says why it isn't ready", func() error {
				if err := v.ready(); err == nil || !strings.Contains(err.Error(), "another verifier has the name both") {
					return fmt.Errorf("it says %w", err)
				}
				return nil
			})
			if got := v.metric("apikey_verifier_name_contested"); got != 1 {
				t.Errorf("the metric says %g", got)
			}
			if !strings.Contains(v.Log(), "give each verifier a --name of its own") {
				t.Error("the log doesn't say so")
			}
		}
		first.await("a key that is refused", func() error { return first.goes.last(http.StatusForbidden) })
		second.leaves()
		first.await("the key that passes again", func() error { return first.goes.last(http.StatusOK) })
		first.leaves()
	})

	t.Run("neither acknowledges for the other, which is cut off", func(t *testing.T) {
		first, w := b.onWire(t, "cut-off")
		issued := b.mint(t)
		first.asks(issued)
		w.become(stalls)
		stalled := time.Now()
		second := b.replica(t, "cut-off") // It can't know that the annotation is not its predecessor's.
		second.asks(issued)
		_, effective := b.revoked(t, issued.Key)
		if n := first.goes.got(http.StatusOK, stalled); n == 0 {
			t.Error("the verifier that is cut off accepted nothing: this shows nothing")
		}
		first.await("a refusal after that", func() error { return refusedSince(first.goes, effective) })
		first.goes.neverAcceptedSince(t, effective)
		second.goes.neverAcceptedSince(t, effective)

		w.become(passes)
		w.cut()
		for _, v := range []*subject{first, second} {
			v.await("both to refuse everything", func() error {
				if v.metric("apikey_verifier_name_contested") != 1 {
					return fmt.Errorf("it has noticed nothing: %w", v.ready())
				}
				return nil
			})
		}
		first.leaves()
		second.leaves()
	})

	t.Run("both know of each other when one is cut off", func(t *testing.T) {
		first, w := b.onWire(t, "later")
		issued := b.mint(t)
		first.asks(issued)
		second := b.replica(t, "later")
		first.await("a key that is refused", func() error { return first.goes.last(http.StatusForbidden) })
		w.become(stalls)
		_, effective := b.revoked(t, issued.Key)
		first.await("a refusal after that", func() error { return refusedSince(first.goes, effective) })
		first.goes.neverAcceptedSince(t, effective)
		first.Kill()
		second.leaves()
	})

	t.Run("a restart is not taken for two verifiers", func(t *testing.T) {
		t.Setenv("POD_UID", "4c7fbd6e-0a4b-4ea4-9f0b-6f1d2f2b7a11")
		first := b.replica(t, "restarted")
		issued := b.mint(t)
		first.asks(issued)
		first.Kill()
		second := b.replica(t, "restarted")
		second.asks(issued)
		since := time.Now()
		began, effective := b.revoked(t, issued.Key)
		if took := effective.Sub(began); took > longBound/2 {
			t.Errorf("effective only after %s: the process that was there before in the pod is waited for", took)
		}
		if n := second.goes.got(http.StatusForbidden, since); n > 0 || second.metric("apikey_verifier_name_contested") != 0 {
			t.Errorf("%d refusals for want of freshness", n)
		}
		second.leaves()
	})

	t.Run("an administrator vouches for one that has ended", func(t *testing.T) {
		first := b.replica(t, "ended")
		issued := b.mint(t)
		first.asks(issued)
		first.Kill()
		install.Kubectl(t, b.ControlPlane, "annotate", "--overwrite", "apikey", "-n", controlplane.SystemNamespace,
			keysv1alpha1.CanaryName, probe.Annotation("ended")+"="+probe.Gone)
		began, effective := b.revoked(t, issued.Key)
		if took := effective.Sub(began); took > longBound/2 {
			t.Errorf("effective only after %s", took)
		}
	})
}
