// Package badstart starts the real programs where they can't work, and checks how they end: with one line that says why
// and what to do, and an exit code that isn't 0.
package badstart_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const (
	controller = "apikey-controller"
	verifier   = "apikey-verifier"
	console    = "apikey-console"

	timeout = 2 * time.Minute
)

// programs are the binaries, by their names.
type programs map[string]string

func build(t *testing.T) programs {
	t.Helper()
	return programs{controller: program.Build(t, "./cmd/controller"), verifier: program.Build(t, "./cmd/verifier")}
}

// buildAll returns the console, too. It starts without a cluster: its page says what is wrong with one.
func buildAll(t *testing.T) programs {
	t.Helper()
	all := build(t)
	all[console] = program.Build(t, "./cmd/console")
	return all
}

// flags returns flags with which a program works, on free ports. Those in after take precedence.
func flags(t *testing.T, name string, after ...string) []string {
	t.Helper()
	all := []string{"--metrics-bind-address=" + program.FreeAddress(t),
		"--health-probe-bind-address=" + program.FreeAddress(t)}
	switch name {
	case controller:
		all = append(all, "--self-signed-certificates", "--create-canary")
	case verifier:
		all = append(all, "--insecure-plain-text", "--name=verifier-1",
			"--http-bind-address="+program.FreeAddress(t), "--grpc-bind-address="+program.FreeAddress(t))
	case console:
		all = append(all, "--insecure-plain-text", "--http-bind-address="+program.FreeAddress(t))
	}
	return append(all, after...)
}

// trace matches a stack trace, in any form of the log.
var trace = regexp.MustCompile(`goroutine \d+|\.go:\d+|stacktrace|panic`)

// endsBadly waits until a process has ended, and checks that its exit code isn't 0, that it has printed no stack, and
// that its last line, which is for people, has each of the given parts.
func endsBadly(t *testing.T, p *program.Process, name string, parts ...string) {
	t.Helper()
	select {
	case <-p.Exited():
	case <-time.After(timeout):
		t.Fatalf("it runs:\n%s", p.Log())
	}
	log := strings.TrimSpace(p.Log())
	if code := p.ExitCode(); code == 0 {
		t.Errorf("it ends with 0:\n%s", log)
	}
	if found := trace.FindString(log); found != "" {
		t.Errorf("a stack trace (%q):\n%s", found, log)
	}
	lines := strings.Split(log, "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, name+": ") {
		t.Errorf("the last line doesn't say why:\n%s", log)
	}
	for _, part := range parts {
		if !strings.Contains(last, part) {
			t.Errorf("the last line lacks %q: %s", part, last)
		}
	}
	for _, line := range lines[:len(lines)-1] {
		if !strings.HasPrefix(line, "{") {
			t.Errorf("a line that is neither the log's nor the last: %s", line)
		}
	}
}

// unreachable writes a kubeconfig of an API server that isn't there, and returns its path.
func unreachable(t *testing.T) string {
	t.Helper()
	return write(t, "kubeconfig", `
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
users: [{name: none, user: {}}]
current-context: none
`)
}

// write writes a file that is removed with the test, and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// pair makes a certificate and its private key, as files.
func pair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "tls.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		write(t, "tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
}

// TestWithoutACluster starts the programs with flags that don't fit together, and where nothing answers.
func TestWithoutACluster(t *testing.T) {
	binaries := buildAll(t)
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cert, _ := pair(t)
	_, otherKey := pair(t)
	garbage := write(t, "garbage", "-----BEGIN NOTHING-----")
	every, both := []string{controller, verifier, console}, []string{controller, verifier}
	withTLS, onlyVerifier, onlyConsole := []string{verifier, console}, []string{verifier}, []string{console}
	kubeconfig, short := "--kubeconfig="+unreachable(t), "--startup-timeout=1s"
	for name, test := range map[string]struct {
		programs, flags, parts []string
	}{
		"a flag that isn't there": {every, []string{"--no-such-flag"}, []string{"-no-such-flag", "--help"}},
		"no length of time": {both, []string{"--startup-timeout=soon"},
			[]string{"-startup-timeout", "soon", "--help"}},
		"less than nothing": {both, []string{"--startup-timeout=-1s"},
			[]string{"--startup-timeout", "less than nothing"}},
		"an argument": {every, []string{"serve"}, []string{"serve", "--help"}},
		"several faults": {onlyVerifier, []string{"--namespace=", "--max-staleness=1s"},
			[]string{"--namespace", "--max-staleness", "from 2s to 1h"}},
		"no kubeconfig": {every, []string{"--kubeconfig=/no/such/file"},
			[]string{"/no/such/file", "set --kubeconfig or KUBECONFIG"}},
		"a kubeconfig that is none": {every, []string{"--kubeconfig=" + garbage}, []string{"set --kubeconfig or KUBECONFIG"}},
		"no API server": {both, []string{kubeconfig, short},
			[]string{"http://127.0.0.1:1", "can't be reached", "connection refused", "check the address"}},
		"a port that is taken": {every, []string{kubeconfig, "--metrics-bind-address=" + taken.Addr().String()},
			[]string{"--metrics-bind-address=" + taken.Addr().String(), "address already in use", "choose another port"}},
		"a port twice": {every,
			[]string{kubeconfig, "--metrics-bind-address=127.0.0.1:39999", "--health-probe-bind-address=127.0.0.1:39999"},
			[]string{"--health-probe-bind-address=127.0.0.1:39999", "choose another port"}},
		"no address": {every, []string{kubeconfig, "--health-probe-bind-address=8081"},
			[]string{"--health-probe-bind-address=8081", "such as :8080"}},
		"no certificate": {withTLS,
			[]string{kubeconfig, "--insecure-plain-text=false", "--tls-cert-file=/no/tls.crt",
				"--tls-private-key-file=/no/tls.key"},
			[]string{"--tls-cert-file=/no/tls.crt", "no such file"}},
		"a certificate that is none": {withTLS,
			[]string{kubeconfig, "--insecure-plain-text=false", "--tls-cert-file=" + garbage,
				"--tls-private-key-file=" + otherKey},
			[]string{"--tls-cert-file=" + garbage, "PEM"}},
		"another certificate's key": {withTLS,
			[]string{kubeconfig, "--insecure-plain-text=false", "--tls-cert-file=" + cert, "--tls-private-key-file=" + otherKey},
			[]string{"--tls-private-key-file=" + otherKey, "does not match"}},
		"plain text not asked for": {withTLS, []string{kubeconfig, "--insecure-plain-text=false"},
			[]string{"--tls-cert-file", "or else --insecure-plain-text"}},
		"no key for sessions": {onlyConsole, []string{kubeconfig, "--session-key-file=/no/key"},
			[]string{"--session-key-file", "/no/key", "no such file"}},
		"too short a key": {onlyConsole, []string{kubeconfig, "--session-key-file=" + write(t, "key", "short")},
			[]string{"--session-key-file", "5 bytes", "at least 32"}},
		"too long a session": {onlyConsole, []string{kubeconfig, "--session-lifetime=48h"},
			[]string{"--session-lifetime=48h", "1m to 24h"}},
		"a device without room": {onlyVerifier, []string{kubeconfig, "--audit-log=/dev/full"},
			[]string{"--audit-log", "no space left", "- for standard output"}},
		"no folder for a log": {onlyVerifier, []string{kubeconfig, "--audit-log=/no/such/folder/log"},
			[]string{"--audit-log", "/no/such/folder/log", "- for standard output"}},
	} {
		for _, which := range test.programs {
			t.Run(which+": "+name, func(t *testing.T) {
				endsBadly(t, program.Start(t, binaries[which], flags(t, which, test.flags...)...), which, test.parts...)
			})
		}
	}
}

// TestDisks starts the verifier with an audit log on file systems where it can't write one.
func TestDisks(t *testing.T) {
	binary := build(t)[verifier]
	for name, test := range map[string]struct{ mount, saying string }{
		"full": {`mount -t tmpfs -o size=64k none "$dir" && { head -c 1M /dev/zero >"$dir/filling" || true; }`,
			"no space left"},
		"read-only": {`mount -t tmpfs -o ro none "$dir"`, "read-only file system"},
	} {
		t.Run(name, func(t *testing.T) {
			p := mounted(t, test.mount+" 2>/dev/null", binary,
				flags(t, verifier, "--kubeconfig="+unreachable(t), "--audit-log=$dir/log")...)
			endsBadly(t, p, verifier, "--audit-log", test.saying, "- for standard output")
		})
	}
}

// mounted starts a program that sees other file systems, as a script mounts them. $dir, in the script and in the flags,
// is a folder for that.
func mounted(t *testing.T, script, binary string, arguments ...string) *program.Process {
	t.Helper()
	need.Program(t, "mount namespaces")
	dir := t.TempDir()
	args := []string{"--map-root-user", "--mount", "sh", "-euc", "dir=" + dir + "\n" + script + "\nexec \"$0\" \"$@\"",
		binary}
	for _, flag := range arguments {
		args = append(args, strings.ReplaceAll(flag, "$dir", dir))
	}
	return program.Start(t, "unshare", args...)
}

// TestOnACluster starts the programs on a cluster that gets, step by step, what they need.
func TestOnACluster(t *testing.T) {
	binaries := build(t)
	cp := install.ControlPlane(t, controlplane.Options{})
	start := func(t *testing.T, name string, after ...string) *program.Process {
		t.Helper()
		after = append([]string{"--kubeconfig=" + install.Kubeconfig(t, cp, name), "--startup-timeout=2s"}, after...)
		return program.Start(t, binaries[name], flags(t, name, after...)...)
	}
	for name, parts := range map[string][]string{
		controller: {"may not get, list, watch apikeys.keys.nexuscommerce.io", "secrets", "leases", "apply config/rbac"},
		verifier: {"may not patch apikeys.keys.nexuscommerce.io named verifier-canary in namespace apikey-system",
			"apply config/rbac"},
	} {
		t.Run(name+": no permissions", func(t *testing.T) { endsBadly(t, start(t, name), name, parts...) })
	}
	install.Kubectl(t, cp, "apply", "--server-side", "-k", install.Config("rbac"))
	t.Run(controller+": another namespace", func(t *testing.T) {
		endsBadly(t, start(t, controller, "--namespace=elsewhere"), controller, "leases", "in namespace elsewhere",
			"--namespace")
	})
	t.Run(verifier+": no canary", func(t *testing.T) {
		endsBadly(t, start(t, verifier), verifier, "apikey-system/verifier-canary is missing", "config/verifier/canary.yaml")
	})
	t.Run("what comes late is waited for", func(t *testing.T) {
		address := program.FreeAddress(t)
		p := start(t, verifier, "--startup-timeout=10m", "--health-probe-bind-address="+address)
		program.WaitUntil(t, timeout, "a verifier that waits",
			func() error { return says(p, "Waiting for what the start needs") })
		install.Kubectl(t, cp, "apply", "--server-side", "-f", install.Config("verifier", "canary.yaml"))
		runs(t, p, address)
	})
	t.Run("unknown credentials", func(t *testing.T) {
		stranger := write(t, "kubeconfig",
			strings.NewReplacer("http://127.0.0.1:1", cp.Config.Host, "user: {}", "user: {token: unknown}",
				"server:", "insecure-skip-tls-verify: true, server:").Replace(read(t, unreachable(t))))
		for name := range binaries {
			endsBadly(t, start(t, name, "--kubeconfig="+stranger), name, cp.Config.Host, "does not know this account",
				"--kubeconfig")
		}
	})
	t.Run("a policy refuses", func(t *testing.T) { refusedByAPolicy(t, cp, start) })
	// Everything is there, and nothing can be written to.
	for name, binary := range binaries {
		t.Run(name+": nothing lacks, on a read-only file system", func(t *testing.T) {
			address := program.FreeAddress(t)
			p := mounted(t, "mount --make-rprivate /\nmount -o remount,bind,ro /", binary,
				flags(t, name, "--kubeconfig="+install.Kubeconfig(t, cp, name), "--health-probe-bind-address="+address,
					"--startup-timeout=30s")...)
			runs(t, p, address)
		})
	}
	install.Kubectl(t, cp, "delete", "--ignore-not-found", "-f", install.Config("crd", "bases"))
	for name := range binaries {
		t.Run(name+": no kinds", func(t *testing.T) {
			endsBadly(t, start(t, name), name, "has no apikeys of keys.nexuscommerce.io/v1alpha1",
				"kubectl apply --server-side -k config/crd")
		})
	}
}

// refusedByAPolicy starts the programs on a cluster whose policies let none of their writes pass.
func refusedByAPolicy(t *testing.T, cp *controlplane.ControlPlane,
	start func(*testing.T, string, ...string) *program.Process) {
	t.Helper()
	for which, rule := range map[string]struct{ resource, policy string }{
		controller: {"apikeys/status", "nobody-grants"}, verifier: {"apikeys", "nobody-writes"},
	} {
		path := write(t, "policy.yaml", strings.NewReplacer("NAME", rule.policy, "RESOURCE", rule.resource).Replace(`
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: NAME}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [keys.nexuscommerce.io], apiVersions: ["*"], resources: [RESOURCE], operations: [UPDATE]}
  validations: [{expression: "false", message: nobody may}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: NAME}
spec: {policyName: NAME, validationActions: [Deny]}
`))
		install.Kubectl(t, cp, "apply", "-f", path)
		canary := &keysv1alpha1.ApiKey{}
		canary.Namespace, canary.Name = controlplane.SystemNamespace, keysv1alpha1.CanaryName
		program.WaitUntil(t, timeout, "a policy in effect", func() error {
			patch := client.RawPatch(types.MergePatchType, []byte(`{"status":{"observedGeneration":1}}`))
			if which == controller && cp.Client.Status().Patch(t.Context(), canary, patch, client.DryRunAll) == nil ||
				which == verifier && cp.Client.Patch(t.Context(), canary,
					client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"a":"b"}}}`)), client.DryRunAll) == nil {
				return errors.New("it lets pass")
			}
			return nil
		})
		t.Run(which, func(t *testing.T) {
			endsBadly(t, start(t, which), which, "the policy "+rule.policy+" refuses", "config/policy")
		})
		install.Kubectl(t, cp, "delete", "-f", path)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// says returns a condition: the process has logged a text.
func says(p *program.Process, what string) error {
	if !strings.Contains(p.Log(), what) {
		return errors.New(p.Log())
	}
	return nil
}

// runs checks that a process that has what it needs becomes ready, and ends with 0 after a signal.
func runs(t *testing.T, p *program.Process, health string) {
	t.Helper()
	program.WaitUntil(t, timeout, "readiness", program.Answers(t.Context(), "http://"+health+"/readyz"))
	if code := p.Terminate(timeout); code != 0 {
		t.Errorf("told to stop, it ends with %d:\n%s", code, p.Log())
	}
}
