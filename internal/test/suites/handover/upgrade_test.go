package handover_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// TestUpgrade installs the last release, upgrades it to the tree as it is, and goes back, while proxies send requests:
// twice, so that both programs come first both times. No request fails. After every step, the fleet does all that it
// did before: it mints, rotates and revokes, and what it writes to status is what the release writes.
func TestUpgrade(t *testing.T) {
	if os.Getenv(need.Nightly) == "" {
		t.Skip("it takes minutes: make test-nightly runs it")
	}
	u := newUpgrade(t)
	stop := u.load(t)
	u.worksAsBefore(t, "install")

	for _, round := range []struct {
		name             string
		to               *version
		controllersFirst bool
	}{
		{"upgrade, controllers first", u.head, true},
		{"back, verifiers first", u.release, false},
		{"upgrade, verifiers first", u.head, false},
		{"back, controllers first", u.release, true},
	} {
		began := time.Now()
		u.apply(t, round.to)
		if round.controllersFirst {
			u.replaceControllers(t, round.to)
			u.worksAsBefore(t, round.name+": other controllers")
		}
		u.replaceVerifier(t, round.to)
		u.worksAsBefore(t, round.name+": one other verifier")
		u.replaceVerifier(t, round.to)
		u.worksAsBefore(t, round.name+": other verifiers")
		if !round.controllersFirst {
			u.replaceControllers(t, round.to)
			u.worksAsBefore(t, round.name+": other controllers")
		}
		t.Logf("%s: %s", round.name, time.Since(began).Round(time.Second))
	}
	stop()
}

// upgrade is a rollout between the last release and the tree as it is.
type upgrade struct {
	rollout

	release, head *version
	// steady is the key that proxies use all the time.
	steady *fixture.Issued
	// before are the status fields that the release sets.
	before fields
	// alive are questions that every verifier must allow, dead those that it must refuse.
	alive, dead []install.Question
}

// newUpgrade installs the last release.
func newUpgrade(t *testing.T) *upgrade {
	t.Helper()
	need.ControlPlane(t)
	u := &upgrade{release: lastRelease(t), head: thisTree(t)}
	u.Installation = install.New(t, install.Options{ControlPlane: controlplane.Options{NoKinds: true}})
	u.running.controllers, u.running.verifiers = u.release, u.release
	u.apply(t, u.release)
	u.Create(t, fixture.Policy("nexuscommerce"))
	for range replicas {
		u.startController(t, u.release)
		u.startVerifier(t, u.release)
	}
	tenant, namespace := u.NewTenant(t)
	key := fixture.ApiKey(namespace.Name, "steady")
	u.steady = &fixture.Issued{Tenant: tenant, Key: key, Token: u.Mint(t, key)}
	return u
}

// load sends requests until it is stopped, over HTTP and over gRPC. Each that fails is an error.
func (u *upgrade) load(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var overHTTP, overGRPC, failed atomic.Int64
	var clients sync.WaitGroup
	for i := range 4 {
		var client asker = &proxy{service: &u.http, asked: &overHTTP, request: question(t, u.steady)}
		if i%2 == 0 {
			client = newEnvoy(t, &u.grpc, &overGRPC, u.steady)
		}
		clients.Go(func() {
			defer client.close()
			for ctx.Err() == nil {
				err := client.ask(t.Context())
				// If the test has failed, its context ends before the load does.
				if err != nil && t.Context().Err() == nil && failed.Add(1) <= 10 {
					t.Errorf("a request fails: %v", err)
				}
			}
		})
	}
	awaitRequests(t, &overHTTP, &overGRPC)
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			clients.Wait()
			t.Logf("%d requests over HTTP and %d over gRPC passed, %d failed", overHTTP.Load(), overGRPC.Load(),
				failed.Load())
		})
	}
	t.Cleanup(stop)
	return stop
}

// worksAsBefore checks that the fleet, as it is now, does what the release does.
func (u *upgrade) worksAsBefore(t *testing.T, step string) {
	t.Helper()
	began := time.Now()
	tenant, namespace := u.NewTenant(t)
	ask := func(token string) install.Question { return install.Question{Token: token, TenantID: tenant.Spec.ID} }

	key := fixture.ApiKey(namespace.Name, "rotated")
	first := u.Mint(t, key)
	u.everyVerifier(t, ask(first), http.StatusOK)
	second := u.rotate(t, key, first)
	u.everyVerifier(t, ask(second), http.StatusOK)
	u.alive = append(u.alive, ask(first), ask(second)) // The test ends before the overlap does.

	u.waitsForVerifiers(t, namespace.Name)
	u.dead = append(u.dead, ask(u.revoke(t, tenant, fixture.ApiKey(namespace.Name, "revoked"))))
	for _, q := range u.alive {
		u.everyVerifier(t, q, http.StatusOK)
	}
	for _, q := range u.dead {
		u.everyVerifier(t, q, http.StatusUnauthorized)
	}
	u.setsTheSameFields(t, namespace.Name, tenant.Name)
	t.Logf("%s: controllers of %s, verifiers of %s: works after %s", step, u.running.controllers.name,
		u.running.verifiers.name, time.Since(began).Round(100*time.Millisecond))
}

// everyVerifier checks that every verifier answers so, the first time that it is asked.
func (u *upgrade) everyVerifier(t *testing.T, q install.Question, status int) {
	t.Helper()
	for _, verifier := range u.verifiers {
		answer, err := verifier.Ask(t.Context(), q)
		if err != nil || answer.Status != status {
			t.Errorf("%s answers %d (%v) and not %d: %s", verifier.Name, answer.Status, err, status, answer.Body)
		}
	}
}

// rotate rotates a key, and returns the new token.
func (u *upgrade) rotate(t *testing.T, key *keysv1alpha1.ApiKey, old string) string {
	t.Helper()
	u.Patch(t, key, fmt.Sprintf(`{"metadata":{"annotations":{%q:"now"}}}`, keysv1alpha1.RotateAtAnnotation))
	program.WaitUntil(t, timeout, "another token of "+key.Name, func() error {
		u.Get(t, key)
		for _, credential := range key.Status.Credentials {
			if credential.ValidUntil != nil && key.Status.LastHandledRotateAt == "now" {
				return nil
			}
		}
		return fmt.Errorf("its status is %+v", key.Status)
	})
	token := u.Token(t, key)
	if token == old {
		t.Error("the Secret has the token from before the rotation")
	}
	return token
}

// waitsForVerifiers checks that the controllers understand what the verifiers write on the canary: they call a
// revocation effective only once a verifier has applied it, or must refuse everything. That verifier gets no requests.
func (u *upgrade) waitsForVerifiers(t *testing.T, namespace string) {
	t.Helper()
	frozen := u.verifierOf(t, u.running.verifiers)
	key := fixture.ApiKey(namespace, "unheard")
	u.Mint(t, key)
	frozen.Signal(syscall.SIGSTOP)
	u.Revoke(t, key)
	var effective *metav1.Condition
	program.WaitUntil(t, timeout, "whether the revocation is effective", func() error {
		u.Get(t, key)
		effective = apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionRevocationEffective)
		if effective == nil {
			return fmt.Errorf("the conditions are %v", key.Status.Conditions)
		}
		return nil
	})
	if effective.Status == metav1.ConditionTrue && !strings.Contains(effective.Message, "Silent for so long") {
		t.Errorf("controllers of %s do not wait for a verifier of %s: %s", u.running.controllers.name,
			u.running.verifiers.name, effective.Message)
	}
	frozen.Signal(syscall.SIGCONT)
	u.Await(t, key, keysv1alpha1.ConditionRevocationEffective)
	if code := frozen.Terminate(timeout); code != 0 {
		t.Errorf("a verifier ends with %d:\n%s", code, frozen.Log())
	}
}

// revoke mints a key, revokes it while it is used, and returns its token. No request that begins after the revocation
// is called effective may pass.
func (u *upgrade) revoke(t *testing.T, tenant *keysv1alpha1.Tenant, key *keysv1alpha1.ApiKey) string {
	t.Helper()
	issued := &fixture.Issued{Tenant: tenant, Key: key, Token: u.Mint(t, key)}
	var passed, refused, late atomic.Int64
	var effective atomic.Bool
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var clients sync.WaitGroup
	for range 2 {
		client := &proxy{service: &u.http, asked: &passed, request: question(t, issued)}
		clients.Go(func() {
			defer client.close()
			for ctx.Err() == nil {
				after := effective.Load()
				switch err := client.ask(t.Context()); {
				case err == nil && after:
					late.Add(1)
				case err != nil && after:
					refused.Add(1)
				}
			}
		})
	}
	awaitSome(t, &passed, 100)
	u.Revoke(t, key)
	u.Await(t, key, keysv1alpha1.ConditionRevocationEffective)
	effective.Store(true)
	awaitSome(t, &refused, 200)
	stop()
	clients.Wait()
	if n := late.Load(); n > 0 {
		t.Errorf("%d requests are accepted after the revocation is effective", n)
	}
	return issued.Token
}

// awaitSome waits until a count has grown to a number.
func awaitSome(t *testing.T, count *atomic.Int64, goal int64) {
	t.Helper()
	program.WaitUntil(t, timeout, "answers to requests", func() error {
		if n := count.Load(); n < goal {
			return fmt.Errorf("%d of %d", n, goal)
		}
		return nil
	})
}

// setsTheSameFields checks that status has every field that the release sets in the same situation. The first call is
// for the release.
func (u *upgrade) setsTheSameFields(t *testing.T, namespace, tenant string) {
	t.Helper()
	program.WaitUntil(t, timeout, "the status fields", func() error {
		now, err := statusFields(t.Context(), u.Client, namespace, tenant)
		if err != nil {
			return err
		}
		if !now["ApiKey status.usage[].lastUsedTime"] && u.before == nil {
			return fmt.Errorf("no use is recorded yet: %v", now)
		}
		if u.before == nil {
			u.before = now
		}
		if names := now.missing(u.before); len(names) > 0 {
			return missingFields(names)
		}
		return nil
	})
}
