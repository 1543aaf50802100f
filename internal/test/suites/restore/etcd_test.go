// Package restore takes a cluster back to an earlier state, by a snapshot of etcd or by a backup of objects, and looks
// at which keys work then.
package restore_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const patience = 2 * time.Minute

// lab is an installation with one tenant.
type lab struct {
	cp               *controlplane.ControlPlane
	verifierBinary   string
	controller       *program.Process
	controllerBinary string
	tenant           *keysv1alpha1.Tenant
	namespace        string
	verifiers        int
}

// verifier is a running one.
type verifier struct {
	*program.Process

	http, health, metrics string
}

func newLab(t *testing.T, options controlplane.Options) *lab {
	t.Helper()
	name := fixture.Name("tenant")
	l := &lab{
		cp:             install.ControlPlane(t, options, "rbac", "verifier/canary.yaml"),
		verifierBinary: program.Build(t, "./cmd/verifier"), controllerBinary: program.Build(t, "./cmd/controller"),
		tenant: fixture.Tenant(name), namespace: fixture.Name("ns"),
	}
	for _, object := range []client.Object{fixture.Policy("nexuscommerce"), l.tenant,
		fixture.Namespace(l.namespace, name)} {
		if err := l.cp.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	l.controller = install.StartController(t, l.cp, l.controllerBinary)
	return l
}

// startVerifier starts one, and waits until it is ready.
func (l *lab) startVerifier(t *testing.T) *verifier {
	t.Helper()
	l.verifiers++
	v := &verifier{http: program.FreeAddress(t), health: program.FreeAddress(t), metrics: program.FreeAddress(t)}
	v.Process = program.Start(t, l.verifierBinary, "--kubeconfig="+install.Kubeconfig(t, l.cp, "apikey-verifier"),
		fmt.Sprintf("--name=verifier-%d", l.verifiers),
		"--http-bind-address="+v.http, "--grpc-bind-address="+program.FreeAddress(t), "--insecure-plain-text",
		"--metrics-bind-address="+v.metrics, "--health-probe-bind-address="+v.health)
	program.WaitUntil(t, patience, "a ready verifier", program.Answers(t.Context(), "http://"+v.health+"/readyz"))
	return v
}

// mint creates a key, waits until it is Ready, and returns its token.
func (l *lab) mint(t *testing.T, name string) string {
	t.Helper()
	key := fixture.ApiKey(l.namespace, name)
	if err := l.cp.Client.Create(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	l.await(t, name, keysv1alpha1.ConditionReady)
	return l.token(t, name)
}

// await waits until a key has a condition.
func (l *lab) await(t *testing.T, name, condition string) {
	t.Helper()
	install.Await(t, l.cp, client.ObjectKey{Namespace: l.namespace, Name: name}, condition, patience)
}

func (l *lab) token(t *testing.T, name string) string {
	t.Helper()
	secret := &corev1.Secret{}
	if err := l.cp.Client.Get(t.Context(), client.ObjectKey{Namespace: l.namespace, Name: name}, secret); err != nil {
		t.Fatal(err)
	}
	return string(secret.Data["token"])
}

// ask asks a verifier about a request with a token, and returns the status and the body.
func (l *lab) ask(ctx context.Context, v *verifier, token string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+v.http+"/auth/nginx", http.NoBody)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("X-Original-URL", "https://"+fixture.Host+"/api/products")
	request.Header.Set("X-Original-Method", http.MethodGet)
	request.Header.Set("X-Tenant-ID", l.tenant.Spec.ID)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// answers waits until a verifier answers so about a token.
func (l *lab) answers(t *testing.T, v *verifier, token string, status int, reason string) {
	t.Helper()
	program.WaitUntil(t, patience, fmt.Sprintf("%d %s", status, reason), func() error {
		got, body, err := l.ask(t.Context(), v, token)
		if err == nil && (got != status || !strings.Contains(body, reason)) {
			err = fmt.Errorf("%d %s", got, body)
		}
		return err
	})
}

// script runs a script of the documentation as an administrator, and returns what it prints.
func (l *lab) script(t *testing.T, name string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), filepath.Join(controlplane.Root(), "docs", "examples", name), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+l.cp.Kubeconfig,
		"PATH="+filepath.Dir(l.cp.Kubectl)+":"+os.Getenv("PATH"))
	var complaint strings.Builder
	command.Stderr = &complaint
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, out, complaint.String())
	}
	return string(out)
}

// change changes a key as a person does.
func (l *lab) change(t *testing.T, name, patch string) {
	t.Helper()
	install.Kubectl(t, l.cp, "patch", "apikey", "-n", l.namespace, name, "--type=merge", "-p", patch)
}

const revoked = `{"spec":{"state":"Revoked"}}`

// history is what has become of keys by the time that etcd is restored, and what is left of it: tokens by what happened
// to their keys after the snapshot, the snapshot's path, and that of the list of keys in force.
type history struct {
	kept, later, taken, deleted, paused, rotated string
	snapshot, list                               string
}

// live has keys made, a snapshot taken, and then something happen to each key that a running verifier learns of.
func (l *lab) live(t *testing.T, running *verifier) history {
	t.Helper()
	h := history{kept: l.mint(t, "kept"), taken: l.mint(t, "taken"), deleted: l.mint(t, "deleted"),
		paused: l.mint(t, "paused"), rotated: l.mint(t, "rotated")}
	h.snapshot, h.list = filepath.Join(t.TempDir(), "snapshot.db"), filepath.Join(t.TempDir(), "keys.txt")
	if err := l.cp.Snapshot(t.Context(), h.snapshot); err != nil {
		t.Fatal(err)
	}
	h.later = l.mint(t, "later")
	l.change(t, "taken", revoked)
	l.await(t, "taken", keysv1alpha1.ConditionRevocationEffective)
	l.change(t, "paused", `{"spec":{"state":"Suspended"}}`)
	install.Kubectl(t, l.cp, "delete", "apikey", "-n", l.namespace, "deleted")
	l.change(t, "rotated",
		`{"metadata":{"annotations":{"keys.nexuscommerce.io/rotateAt":"now"}},"spec":{"rotation":{"overlap":"1s"}}}`)
	for _, token := range []string{h.taken, h.deleted, h.paused, h.rotated} { // The last at the end of the overlap.
		l.answers(t, running, token, http.StatusUnauthorized, "")
	}
	if err := os.WriteFile(h.list, []byte(l.script(t, "keys-in-force.sh")), 0o600); err != nil {
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
			// Stopped, it waits no longer than this for watches to end.
			l := newLab(t, controlplane.Options{APIServerArgs: map[string]string{"request-timeout": "5s"}})
			running := l.startVerifier(t)
			h := l.live(t, running)

			stop := l.neverPasses(t, running, h.taken, h.deleted, h.paused)
			if err := l.cp.Restore(t.Context(), etcdutl, h.snapshot, bump); err != nil {
				t.Fatal(err)
			}
			l.noticesByItself(t, running, h)
			// What is started now can't know: that is why the documentation says not to, yet.
			fresh := l.startVerifier(t)
			for _, token := range []string{h.kept, h.taken, h.deleted, h.paused, h.rotated} {
				l.answers(t, fresh, token, http.StatusOK, "")
			}

			l.controller.Kill()
			l.controller = install.StartController(t, l.cp, l.controllerBinary)
			l.script(t, "after-restore.sh", h.list)
			l.await(t, "taken", keysv1alpha1.ConditionRevoked)
			stop()
			for _, v := range []*verifier{running, fresh} {
				v.Terminate(patience)
			}
			l.isAsTheListSays(t, h)
			l.script(t, "after-restore.sh", h.list)
		})
	}
}

// noticesByItself checks that a verifier that runs knows that this is not what it has seen, without being told.
func (l *lab) noticesByItself(t *testing.T, running *verifier, h history) {
	t.Helper()
	l.answers(t, running, h.kept, http.StatusForbidden, "unavailable")
	program.WaitUntil(t, patience, "the metric",
		program.Answers(t.Context(), "http://"+running.metrics+"/metrics", "\napikey_verifier_restore_detected 1\n"))
	if err := program.Answers(t.Context(), "http://"+running.health+"/readyz")(); err == nil {
		t.Error("it is ready")
	}
	if !strings.Contains(running.Log(), "etcd was restored from a backup") {
		t.Errorf("the log doesn't say so:\n%s", running.Log())
	}
}

// isAsTheListSays checks that what had been taken away is taken away again, by a verifier that is started after it.
func (l *lab) isAsTheListSays(t *testing.T, h history) {
	t.Helper()
	v := l.startVerifier(t)
	for token, want := range map[string]struct {
		status int
		reason string
	}{
		h.kept: {http.StatusOK, ""}, h.later: {http.StatusUnauthorized, "invalid_token"},
		h.taken: {http.StatusUnauthorized, "revoked"}, h.deleted: {http.StatusUnauthorized,
			"revoked"}, h.paused: {http.StatusUnauthorized, "suspended"},
	} {
		l.answers(t, v, token, want.status, want.reason)
	}
	key := &keysv1alpha1.ApiKey{}
	program.WaitUntil(t, patience, "a rotated key", func() error {
		err := l.cp.Client.Get(t.Context(), client.ObjectKey{Namespace: l.namespace, Name: "rotated"}, key)
		if err == nil && (len(key.Status.Credentials) != 2 || key.Status.Credentials[0].ValidUntil == nil) {
			err = fmt.Errorf("credentials %v", key.Status.Credentials)
		}
		return err
	})
}

// neverPasses asks a verifier again and again about tokens that must not pass, until it is stopped.
func (l *lab) neverPasses(t *testing.T, v *verifier, tokens ...string) (stop func()) {
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
				if status, _, err := l.ask(ctx, v, token); err == nil && status == http.StatusOK {
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
