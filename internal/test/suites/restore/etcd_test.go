// Package restore takes a cluster back to an earlier state, by a snapshot of etcd or by a backup of objects, and looks
// at which keys work then.
package restore_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const timeout = 2 * time.Minute

// testbed is an installation with a controller and one tenant.
type testbed struct {
	*install.Installation

	tenant    *keysv1alpha1.Tenant
	namespace string
}

func newTestbed(t *testing.T, options controlplane.Options) *testbed {
	t.Helper()
	b := &testbed{Installation: install.New(t, install.Options{
		ControlPlane: options,
		Manifests:    []string{"rbac", "verifier/canary.yaml"},
		Objects:      []client.Object{fixture.Policy("nexuscommerce")},
		Controller:   &install.ControllerOptions{},
	})}
	tenant, namespace := b.NewTenant(t)
	b.tenant, b.namespace = tenant, namespace.Name
	return b
}

// startVerifier starts a verifier, and waits until it is ready.
func (b *testbed) startVerifier(t *testing.T) *install.Verifier {
	t.Helper()
	return b.StartVerifier(t, install.VerifierOptions{})
}

// mint creates a key, waits until it is Ready, and returns its token.
func (b *testbed) mint(t *testing.T, name string) string {
	t.Helper()
	return b.Mint(t, fixture.ApiKey(b.namespace, name))
}

// await waits until a condition of a key is True, and returns the key.
func (b *testbed) await(t *testing.T, name, condition string) *keysv1alpha1.ApiKey {
	t.Helper()
	key := fixture.ApiKey(b.namespace, name)
	b.Await(t, key, condition)
	return key
}

// question asks about a request with a token.
func (b *testbed) question(token string) install.Question {
	return install.Question{Token: token, TenantID: b.tenant.Spec.ID}
}

// answers waits until a verifier answers so about a token.
func (b *testbed) answers(t *testing.T, v *install.Verifier, token string, status int, reason string) {
	t.Helper()
	v.AwaitAnswer(t, b.question(token), status, reason)
}

// script runs a script of the documentation as an administrator, and returns what it prints.
func (b *testbed) script(t *testing.T, name string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), filepath.Join(controlplane.Root(), "docs", "examples", name), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+b.Kubeconfig,
		"PATH="+filepath.Dir(b.Kubectl)+":"+os.Getenv("PATH"))
	var stderr strings.Builder
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, out, stderr.String())
	}
	return string(out)
}

// change patches a key with kubectl.
func (b *testbed) change(t *testing.T, name, patch string) {
	t.Helper()
	install.Kubectl(t, b.ControlPlane, "patch", "apikey", "-n", b.namespace, name, "--type=merge", "-p", patch)
}

const revoked = `{"spec":{"state":"Revoked"}}`

// history has the tokens of keys by what happened to the keys after a snapshot of etcd, the path of the snapshot, and
// the path of the list of keys in force.
type history struct {
	kept, later, taken, deleted, paused, rotated string
	snapshot, list                               string
}

// record creates keys, takes a snapshot, and then changes each key in a way that a running verifier learns of.
func (b *testbed) record(t *testing.T, running *install.Verifier) history {
	t.Helper()
	h := history{kept: b.mint(t, "kept"), taken: b.mint(t, "taken"), deleted: b.mint(t, "deleted"),
		paused: b.mint(t, "paused"), rotated: b.mint(t, "rotated")}
	h.snapshot, h.list = filepath.Join(t.TempDir(), "snapshot.db"), filepath.Join(t.TempDir(), "keys.txt")
	if err := b.Snapshot(t.Context(), h.snapshot); err != nil {
		t.Fatal(err)
	}
	h.later = b.mint(t, "later")
	b.change(t, "taken", revoked)
	b.await(t, "taken", keysv1alpha1.ConditionRevocationEffective)
	b.change(t, "paused", `{"spec":{"state":"Suspended"}}`)
	install.Kubectl(t, b.ControlPlane, "delete", "apikey", "-n", b.namespace, "deleted")
	b.change(t, "rotated",
		`{"metadata":{"annotations":{"keys.nexuscommerce.io/rotateAt":"now"}},"spec":{"rotation":{"overlap":"1s"}}}`)
	for _, token := range []string{h.taken, h.deleted, h.paused, h.rotated} { // The last at the end of the overlap.
		b.answers(t, running, token, http.StatusUnauthorized, "")
	}
	if err := os.WriteFile(h.list, []byte(b.script(t, "keys-in-force.sh")), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestEtcd restores a snapshot of etcd, with revisions that go back and with revisions that are set forward. It goes
// through docs/restore.md.
func TestEtcd(t *testing.T) {
	etcdutl := need.Program(t, "etcdutl")
	for name, bump := range map[string]int{"revisions go back": 0, "revisions are set forward": 1_000_000_000} {
		t.Run(name, func(t *testing.T) {
			// An API server that is stopped waits no longer than this for watches to end.
			b := newTestbed(t, controlplane.Options{APIServerArgs: map[string]string{"request-timeout": "5s"}})
			running := b.startVerifier(t)
			h := b.record(t, running)

			stop := b.neverPasses(t, running, h.taken, h.deleted, h.paused)
			if err := b.Restore(t.Context(), etcdutl, h.snapshot, bump); err != nil {
				t.Fatal(err)
			}
			b.noticesByItself(t, running, h)
			// A verifier that is started now can't know: that is why the documentation says not to start any yet.
			fresh := b.startVerifier(t)
			for _, token := range []string{h.kept, h.taken, h.deleted, h.paused, h.rotated} {
				b.answers(t, fresh, token, http.StatusOK, "")
			}

			b.Controller.Kill()
			b.Controller = b.StartController(t, install.ControllerOptions{})
			b.script(t, "after-restore.sh", h.list)
			b.await(t, "taken", keysv1alpha1.ConditionRevoked)
			stop()
			for _, v := range []*install.Verifier{running, fresh} {
				v.Terminate(timeout)
			}
			b.isAsTheListSays(t, h)
			b.script(t, "after-restore.sh", h.list)
		})
	}
}

// noticesByItself checks that a running verifier detects that the cluster is at an earlier state.
func (b *testbed) noticesByItself(t *testing.T, running *install.Verifier, h history) {
	t.Helper()
	b.answers(t, running, h.kept, http.StatusForbidden, "unavailable")
	program.WaitUntil(t, timeout, "the metric",
		program.Answers(t.Context(), "http://"+running.Metrics+"/metrics", "\napikey_verifier_restore_detected 1\n"))
	if err := program.Answers(t.Context(), "http://"+running.Health+"/readyz")(); err == nil {
		t.Error("it is ready")
	}
	if !strings.Contains(running.Log(), "etcd was restored from a backup") {
		t.Errorf("the log doesn't say so:\n%s", running.Log())
	}
}

// isAsTheListSays checks that a verifier that is started now refuses the keys that are not in the list.
func (b *testbed) isAsTheListSays(t *testing.T, h history) {
	t.Helper()
	v := b.startVerifier(t)
	for token, want := range map[string]struct {
		status int
		reason string
	}{
		h.kept: {http.StatusOK, ""}, h.later: {http.StatusUnauthorized, "invalid_token"},
		h.taken: {http.StatusUnauthorized, "revoked"}, h.deleted: {http.StatusUnauthorized,
			"revoked"}, h.paused: {http.StatusUnauthorized, "suspended"},
	} {
		b.answers(t, v, token, want.status, want.reason)
	}
	key := fixture.ApiKey(b.namespace, "rotated")
	program.WaitUntil(t, timeout, "a rotated key", func() error {
		err := b.Client.Get(t.Context(), client.ObjectKeyFromObject(key), key)
		if err == nil && (len(key.Status.Credentials) != 2 || key.Status.Credentials[0].ValidUntil == nil) {
			err = fmt.Errorf("credentials %v", key.Status.Credentials)
		}
		return err
	})
}

// neverPasses asks a verifier again and again about tokens that must not pass, until it is stopped.
func (b *testbed) neverPasses(t *testing.T, v *install.Verifier, tokens ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	var asked atomic.Int64
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			for i, token := range tokens {
				if answer, err := v.Ask(ctx, b.question(token)); err == nil && answer.Status == http.StatusOK {
					t.Errorf("token %d passes at a verifier that has seen its end", i)
					return
				}
				asked.Add(1)
			}
			<-tick.C
		}
	}()
	return func() {
		cancel()
		<-done
		if asked.Load() < 100 {
			t.Errorf("only %d requests", asked.Load())
		}
	}
}
