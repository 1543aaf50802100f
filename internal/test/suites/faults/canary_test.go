package faults_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// longBound is that of a verifier that is cut off: long enough for somebody to forget it meanwhile.
const longBound = 8 * time.Second

// site is an installation with a controller, and with verifiers that can be cut off.
type site struct {
	t                *testing.T
	cp               *controlplane.ControlPlane
	verifier, binary string
	controller       *program.Process
	tenant           *keysv1alpha1.Tenant
	namespace        string
	direct           string
}

func newSite(t *testing.T) *site {
	t.Helper()
	name := fixture.Name("tenant")
	s := &site{
		t: t, cp: start(t), verifier: program.Build(t, "./cmd/verifier"), binary: program.Build(t, "./cmd/controller"),
		tenant: fixture.Tenant(name), namespace: fixture.Name("ns"),
	}
	s.direct = install.Kubeconfig(t, s.cp, "apikey-verifier")
	for _, object := range []client.Object{s.tenant, fixture.Namespace(s.namespace, name)} {
		if err := s.cp.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	s.restart()
	return s
}

// restart kills the controller, if there is one, and starts another.
func (s *site) restart() {
	s.t.Helper()
	if s.controller != nil {
		s.controller.Kill()
	}
	s.controller = install.StartController(s.t, s.cp, s.binary)
}

// mint creates a key and waits until it is ready.
func (s *site) mint(t *testing.T) *fixture.Issued {
	t.Helper()
	key := fixture.ApiKey(s.namespace, fixture.Name("key"))
	if err := s.cp.Client.Create(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	name := client.ObjectKeyFromObject(key)
	program.WaitUntil(t, patience, "a key that is ready", func() error {
		if err := s.cp.Client.Get(t.Context(), name, key); err != nil ||
			apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionReady) {
			return err
		}
		return fmt.Errorf("%v", key.Status.Conditions)
	})
	secret := &corev1.Secret{}
	if err := s.cp.Client.Get(t.Context(), name, secret); err != nil {
		t.Fatal(err)
	}
	return &fixture.Issued{Tenant: s.tenant, Key: key, Token: string(secret.Data["token"])}
}

// onWire starts a verifier that can be cut off.
func (s *site) onWire(t *testing.T, name string) (*subject, *wire) {
	t.Helper()
	w := newWire(t, s.cp.Config)
	kubeconfig, err := s.cp.ServiceAccountKubeconfigAt("apikey-verifier", w.url())
	if err != nil {
		t.Fatal(err)
	}
	v := launch(t, s.cp, s.verifier, kubeconfig, name, longBound)
	v.await("a verifier that is ready", v.ready)
	return v, w
}

// replica starts a verifier that is not cut off.
func (s *site) replica(t *testing.T, name string) *subject {
	t.Helper()
	return launch(t, s.cp, s.verifier, s.direct, name, longBound)
}

// asks asks a verifier about a key, and waits until it passes.
func (v *subject) asks(issued *fixture.Issued) {
	v.t.Helper()
	v.goes = v.call(issued)
	v.await("a key that passes", func() error { return v.goes.last(http.StatusOK) })
}

// leaves has a verifier be told to stop.
func (v *subject) leaves() {
	v.t.Helper()
	if code := v.process.Terminate(patience); code != 0 {
		v.t.Errorf("the verifier ended with %d", code)
	}
}

// revoked has a key be revoked, and returns how long it took until that was said to be effective.
func (s *site) revoked(t *testing.T, key *keysv1alpha1.ApiKey) (began, effective time.Time) {
	t.Helper()
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"state":"Revoked"}}`))
	if err := s.cp.Client.Patch(t.Context(), key.DeepCopy(), patch); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	program.WaitUntil(t, patience, "RevocationEffective", func() error {
		err := s.cp.Client.Get(t.Context(), client.ObjectKeyFromObject(key), key)
		if err != nil || apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionRevocationEffective) {
			return err
		}
		return fmt.Errorf("%v", apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionRevocationEffective))
	})
	return began, time.Now()
}

// canary is the canary as it is now.
func (s *site) canary(t *testing.T) *keysv1alpha1.ApiKey {
	t.Helper()
	canary := &keysv1alpha1.ApiKey{}
	name := client.ObjectKey{Namespace: controlplane.SystemNamespace, Name: keysv1alpha1.CanaryName}
	if err := s.cp.Client.Get(t.Context(), name, canary); err != nil {
		t.Fatal(err)
	}
	return canary
}

// TestCanaryReplaced has one of two verifiers be cut off, and somebody take away what it has said. A revocation is
// effective only once that verifier refuses the key, and then it is.
func TestCanaryReplaced(t *testing.T) {
	s := newSite(t)
	file := install.Config("verifier", "canary.yaml")
	healthy := s.replica(t, "healthy")
	healthy.await("a verifier that is ready", healthy.ready)
	replace := func(t *testing.T) { install.Kubectl(t, s.cp, "replace", "-f", file) }
	recreate := func(t *testing.T) { install.Kubectl(t, s.cp, "replace", "--force", "-f", file) }
	strip := func(t *testing.T) {
		for annotation := range s.canary(t).Annotations {
			if strings.HasPrefix(annotation, keysv1alpha1.ProbeAnnotationPrefix) {
				install.Kubectl(t, s.cp, "annotate", "apikey", "-n", controlplane.SystemNamespace, keysv1alpha1.CanaryName,
					annotation+"-")
			}
		}
	}
	whileDown := func(do func(*testing.T)) func(*testing.T) {
		return func(t *testing.T) {
			s.controller.Kill()
			do(t)
			s.restart()
		}
	}
	for name, takeAway := range map[string]func(*testing.T){
		"by replacing":    replace,
		"with the object": recreate,
		"one by one":      strip,
		"by replacing, and the controller restarts": func(t *testing.T) { replace(t); s.restart() },
		"with the object while no controller runs":  whileDown(recreate),
		"one by one while no controller runs":       whileDown(strip),
	} {
		t.Run(name, func(t *testing.T) {
			cutOff, w := s.onWire(t, fixture.Name("verifier"))
			issued := s.mint(t)
			cutOff.asks(issued)
			w.become(stalls)
			stalled := time.Now()
			takeAway(t)
			_, effective := s.revoked(t, issued.Key)
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

// refusedSince says whether enough requests were refused that were sent since a time.
func refusedSince(c *caller, since time.Time) error {
	if n := c.got(http.StatusForbidden, since) + c.got(http.StatusUnauthorized, since); n < 50 {
		return fmt.Errorf("%d refusals", n)
	}
	return nil
}

// TestOneName has two verifiers with one name.
func TestOneName(t *testing.T) {
	s := newSite(t)

	t.Run("both of them refuse everything, until one has gone", func(t *testing.T) {
		a, _ := s.onWire(t, "both")
		a.asks(s.mint(t))
		b := s.replica(t, "both")
		for _, v := range []*subject{a, b} {
			v.await("a replica that says why it isn't ready", func() error {
				if err := v.ready(); err == nil || !strings.Contains(err.Error(), "another verifier has the name both") {
					return fmt.Errorf("it says %w", err)
				}
				return nil
			})
			if got := v.metric("apikey_verifier_name_contested"); got != 1 {
				t.Errorf("the metric says %g", got)
			}
			if !strings.Contains(v.process.Log(), "give each verifier a --name of its own") {
				t.Error("the log doesn't say so")
			}
		}
		a.await("a key that is refused", func() error { return a.goes.last(http.StatusForbidden) })
		b.leaves()
		a.await("the key that passes again", func() error { return a.goes.last(http.StatusOK) })
		a.leaves()
	})

	t.Run("neither acknowledges for the other, which is cut off", func(t *testing.T) {
		a, w := s.onWire(t, "cut-off")
		issued := s.mint(t)
		a.asks(issued)
		w.become(stalls)
		stalled := time.Now()
		b := s.replica(t, "cut-off") // What it finds is its predecessor's for all that it can know.
		b.asks(issued)
		_, effective := s.revoked(t, issued.Key)
		if n := a.goes.got(http.StatusOK, stalled); n == 0 {
			t.Error("the verifier that is cut off accepted nothing: this shows nothing")
		}
		a.await("a refusal after that", func() error { return refusedSince(a.goes, effective) })
		a.goes.neverAcceptedSince(t, effective)
		b.goes.neverAcceptedSince(t, effective)

		w.become(passes)
		w.cut()
		for _, v := range []*subject{a, b} {
			v.await("both to refuse everything", func() error {
				if v.metric("apikey_verifier_name_contested") != 1 {
					return fmt.Errorf("it has noticed nothing: %w", v.ready())
				}
				return nil
			})
		}
		a.leaves()
		b.leaves()
	})

	t.Run("both know each other as one is cut off", func(t *testing.T) {
		a, w := s.onWire(t, "later")
		issued := s.mint(t)
		a.asks(issued)
		b := s.replica(t, "later")
		a.await("a key that is refused", func() error { return a.goes.last(http.StatusForbidden) })
		w.become(stalls)
		_, effective := s.revoked(t, issued.Key)
		a.await("a refusal after that", func() error { return refusedSince(a.goes, effective) })
		a.goes.neverAcceptedSince(t, effective)
		a.process.Kill()
		b.leaves()
	})

	t.Run("a restart is none of that", func(t *testing.T) {
		t.Setenv("POD_UID", "4c7fbd6e-0a4b-4ea4-9f0b-6f1d2f2b7a11")
		a := s.replica(t, "restarted")
		issued := s.mint(t)
		a.asks(issued)
		a.process.Kill()
		b := s.replica(t, "restarted")
		b.asks(issued)
		since := time.Now()
		began, effective := s.revoked(t, issued.Key)
		if took := effective.Sub(began); took > longBound/2 {
			t.Errorf("effective only after %s: the process that was there before in the pod is waited for", took)
		}
		if n := b.goes.got(http.StatusForbidden, since); n > 0 || b.metric("apikey_verifier_name_contested") != 0 {
			t.Errorf("%d refusals for want of freshness", n)
		}
		b.leaves()
	})

	t.Run("an administrator vouches for one that has ended", func(t *testing.T) {
		a := s.replica(t, "ended")
		issued := s.mint(t)
		a.asks(issued)
		a.process.Kill()
		install.Kubectl(t, s.cp, "annotate", "--overwrite", "apikey", "-n", controlplane.SystemNamespace,
			keysv1alpha1.CanaryName, probe.Annotation("ended")+"="+probe.Gone)
		began, effective := s.revoked(t, issued.Key)
		if took := effective.Sub(began); took > longBound/2 {
			t.Errorf("effective only after %s", took)
		}
	})
}
