package faults_test

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// bound is the verifiers' --max-staleness, unless a test needs another.
const bound = 4 * time.Second

// onWire starts a verifier that reaches the API server through a wire.
func onWire(t *testing.T, i *install.Installation, bound time.Duration) (*subject, *wire) {
	t.Helper()
	w := newWire(t, i.Config)
	kubeconfig, err := i.ServiceAccountKubeconfigAt("apikey-verifier", w.url())
	if err != nil {
		t.Fatal(err)
	}
	return watch(t, i, kubeconfig, bound), w
}

// TestFaults breaks the connection between a verifier and the API server, and revokes a key meanwhile.
func TestFaults(t *testing.T) {
	i := newInstallation(t)
	for name, fault := range map[string]struct {
		begins func(*subject, *wire)
		ends   func(*subject, *wire)
		// stale is set if the verifier receives nothing while the fault lasts.
		stale bool
	}{
		"none": {},
		"a connection that is cut": {
			begins: func(_ *subject, w *wire) { w.cut() },
		},
		"connections that are refused": {
			begins: func(_ *subject, w *wire) { w.become(refuses); w.cut() },
			ends:   func(_ *subject, w *wire) { w.become(passes) },
			stale:  true,
		},
		"a connection that takes everything and answers nothing": {
			begins: func(_ *subject, w *wire) { w.become(stalls) },
			ends:   func(_ *subject, w *wire) { w.become(passes) },
			stale:  true,
		},
		"a half-open connection": {
			begins: func(_ *subject, w *wire) { w.halve() },
		},
		"a slow connection": {
			begins: func(_ *subject, w *wire) { w.become(crawls) },
			ends:   func(_ *subject, w *wire) { w.become(passes) },
			stale:  true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, w := onWire(t, i, bound)
			connections := w.accepted.Load()
			if fault.begins != nil {
				fault.begins(s, w)
			}
			revoked := s.revoke()
			s.awaitBound(revoked)
			if fault.stale {
				s.isStale()
			}
			if fault.ends != nil {
				fault.ends(s, w)
			}
			s.recovers()
			s.goes.neverAcceptedSince(t, revoked.Add(s.bound))
			if fault.begins != nil && w.accepted.Load() == connections {
				t.Error("it has recovered over the old connection, which is none")
			}
			if got := s.metric("apikey_verifier_divergence_total"); got != 0 {
				t.Errorf("%g keys differed from the API server's", got)
			}
		})
	}
}

// TestLostEvent drops the event of the revocation from a watch, and what else comes of that key after it: when its last
// use is written, the watch would show that it is revoked.
func TestLostEvent(t *testing.T) {
	i := newInstallation(t)
	through := newSieve(t, i.Config)
	s := watch(t, i, through.kubeconfig(t), 10*time.Second)
	through.lose(s.goes.issued.Key.Name, `"state":"Revoked"`)
	revoked := s.revoke()
	s.await("a lost event", func() error {
		if through.lost.Load() == 0 {
			return http.ErrNoLocation
		}
		return nil
	})
	s.awaitBound(revoked)
	s.recovers()
	s.goes.neverAcceptedSince(t, revoked.Add(s.bound))
	if s.metric("apikey_verifier_divergence_total") == 0 {
		t.Error("the metric says that no key differed from the API server's")
	}
	if s.stays.got(http.StatusOK, revoked) == 0 {
		t.Error("the other key was not accepted")
	}
}

// TestFrozen stops a verifier's process for longer than its bound. Requests that are sent meanwhile are answered when
// it goes on.
func TestFrozen(t *testing.T) {
	i := newInstallation(t)
	s, _ := onWire(t, i, bound)
	s.Signal(syscall.SIGSTOP)
	revoked := s.revoke()
	s.awaitBound(revoked)
	asked := time.Now()
	s.Signal(syscall.SIGCONT)
	s.recovers()
	s.goes.neverAcceptedSince(t, revoked.Add(s.bound))
	if s.stays.got(http.StatusForbidden, revoked) == 0 {
		t.Error("nothing was refused for want of freshness")
	}
	if got := s.metric("apikey_verifier_fresh_as_of_timestamp_seconds"); got < float64(asked.Unix()) {
		t.Errorf("as of %g, which is before it went on", got)
	}
}

// TestAPIServerAway stops the API server for longer than the bound of one verifier, and for less than that of another.
func TestAPIServerAway(t *testing.T) {
	i := newInstallation(t)
	short, _ := onWire(t, i, bound)
	long, _ := onWire(t, i, 5*time.Minute)

	away := time.Now()
	if err := i.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	short.awaitBound(time.Now())
	short.isStale()
	if err := i.StartAPIServer(); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*subject{short, long} {
		revoked := s.revoke()
		s.recovers()
		if s == short {
			s.awaitBound(revoked)
			s.goes.neverAcceptedSince(t, revoked.Add(s.bound))
		}
	}
	long.stays.always(t, http.StatusOK, away)
	if n := long.goes.got(http.StatusForbidden, away); n > 0 {
		t.Errorf("%d requests were refused while the API server was away for less than the bound", n)
	}
}

// TestGone lets a verifier resume its watch at a resourceVersion that the API server no longer has: 410.
func TestGone(t *testing.T) {
	i := newInstallation(t)
	s, w := onWire(t, i, 5*time.Minute)
	seen := s.goes.issued.Key.ResourceVersion
	w.become(refuses)
	w.cut()
	s.revoke()
	if err := i.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := i.StopAPIServer(); err != nil {
		t.Fatal(err)
	}
	if err := i.StartAPIServer(); err != nil {
		t.Fatal(err)
	}
	if i.Remembers(t.Context(), seen) {
		t.Fatal("the API server still remembers")
	}
	cut := time.Now()
	w.become(passes)
	s.recovers()
	s.stays.always(t, http.StatusOK, cut)
}

// TestWithoutController checks that revocation and expiry work without a controller.
func TestWithoutController(t *testing.T) {
	i := newInstallation(t)
	s, _ := onWire(t, i, bound)
	expires := time.Now().Add(3 * time.Second).Truncate(time.Second)
	expiring := s.call(s.issue(func(k *keysv1alpha1.ApiKey) {
		k.Status.ExpiresTime = &metav1.Time{Time: expires}
		k.Status.Credentials[0].ValidUntil = nil
	}))
	asOf := s.metric("apikey_verifier_fresh_as_of_timestamp_seconds")
	s.revoke()
	s.recovers()
	s.await("an expired key", func() error { return expiring.last(http.StatusUnauthorized) })
	expiring.neverAcceptedSince(t, expires)
	if got := s.metric("apikey_verifier_fresh_as_of_timestamp_seconds"); got <= asOf {
		t.Errorf("as of %g, and no later", got)
	}
	key := &keysv1alpha1.ApiKey{}
	if err := i.Client.Get(t.Context(), client.ObjectKeyFromObject(s.goes.issued.Key), key); err != nil ||
		len(key.Status.Conditions) != 0 {
		t.Errorf("a controller has been here: %v %v", key.Status.Conditions, err)
	}
}
