package system_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// reconciles is how many times the controller has looked at a key.
func (i *installation) reconciles(t *testing.T) float64 {
	t.Helper()
	total := 0.0
	lines := bufio.NewScanner(strings.NewReader(program.Get(t, "http://"+i.controllerMetrics+"/metrics")))
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), `controller_runtime_reconcile_total{controller="apikey"`) {
			value, err := strconv.ParseFloat(lines.Text()[strings.LastIndex(lines.Text(), " ")+1:], 64)
			if err != nil {
				t.Fatal(err)
			}
			total += value
		}
	}
	return total
}

// idle waits until the controller has looked at no key for a while, and returns how many times it had by then.
func (i *installation) idle(t *testing.T) float64 {
	t.Helper()
	const quiet = 2 * time.Second
	last, since := i.reconciles(t), time.Now()
	program.WaitUntil(t, patience, "a controller that is done", func() error {
		if total := i.reconciles(t); total != last {
			last, since = total, time.Now()
		}
		if time.Since(since) < quiet {
			return fmt.Errorf("it was busy %s ago", time.Since(since))
		}
		return nil
	})
	return last
}

// awaitUse waits until a key's status says that it was used.
func (i *installation) awaitUse(t *testing.T, key *keysv1alpha1.ApiKey) {
	t.Helper()
	program.WaitUntil(t, patience, "a key that was used", func() error {
		if err := i.cp.Client.Get(t.Context(), client.ObjectKeyFromObject(key), key); err != nil {
			return err
		}
		if key.Status.LastUsedTime == nil {
			return fmt.Errorf("it was not, says its status")
		}
		return nil
	})
}

// TestLastUsed has keys used: it is seen in kubectl's table and in the audit log, the controller has nothing to do because
// of it (L4), and what a verifier knows when it is told to stop isn't lost.
func TestLastUsed(t *testing.T) {
	i := newInstallation(t)
	if err := i.cp.Client.Create(t.Context(), fixture.Policy("nexuscommerce")); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "audit.jsonl")
	second := i.secondVerifier(t, log)
	keys := []*keysv1alpha1.ApiKey{i.mint(t), i.mint(t), i.mint(t), i.mint(t)}
	before := i.idle(t)

	used := keys[0]
	i.eventually(t, i.tokenOf(t, used), used.Status.TenantID, http.MethodGet, "/api/products?token="+i.tokenOf(t, used), http.StatusOK)
	i.awaitUse(t, used)
	if len(used.Status.Usage) != 1 || used.Status.Usage[0].ID != used.Status.Credentials[0].ID {
		t.Errorf("usage %v of credentials %v", used.Status.Usage, used.Status.Credentials)
	}
	i.checkTable(t, used)
	i.checkManagers(t, used)

	for _, key := range keys[1:] {
		i.eventually(t, i.tokenOf(t, key), key.Status.TenantID, http.MethodGet, "/api/products", http.StatusOK)
	}
	if code := second.Terminate(patience); code != 0 {
		t.Errorf("the verifier ended with %d\n%s", code, second.Log())
	}
	for _, key := range keys[1:] {
		if err := i.cp.Client.Get(t.Context(), client.ObjectKeyFromObject(key), key); err != nil {
			t.Fatal(err)
		}
		if key.Status.LastUsedTime == nil {
			t.Error("a key was used before the verifier was told to stop, and its status doesn't say so")
		}
	}
	// That a verifier has come and gone has the controller look at the canary, twice at most.
	if looked := i.reconciles(t) - before; looked >= float64(len(keys)) {
		t.Errorf("the controller looked %v times at %d keys, and at the canary, because they were used", looked, len(keys))
	}

	i.checkAuditLog(t, log, keys)
}

// secondVerifier starts one beside the installation's, which writes an audit log, and has it asked from now on.
func (i *installation) secondVerifier(t *testing.T, log string) *program.Process {
	t.Helper()
	health, address := program.FreeAddress(t), program.FreeAddress(t)
	second := program.Start(t, program.Build(t, "./cmd/verifier"),
		"--kubeconfig="+install.Kubeconfig(t, i.cp, "apikey-verifier"), "--name=verifier-2", "--audit-log="+log,
		"--metrics-bind-address=0", "--health-probe-bind-address="+health,
		"--http-bind-address="+address, "--grpc-bind-address="+program.FreeAddress(t), "--insecure-plain-text")
	program.WaitUntil(t, patience, "a second verifier", program.Answers(t.Context(), "http://"+health+"/readyz"))
	i.verifierURL = "http://" + address
	return second
}

// checkTable checks that kubectl's table says when a key was used.
func (i *installation) checkTable(t *testing.T, used *keysv1alpha1.ApiKey) {
	t.Helper()
	table, err := i.cp.RunKubectl(t.Context(), "get", "apikey", "-n", used.Namespace, used.Name)
	if err != nil {
		t.Fatal(err)
	}
	header, row, _ := strings.Cut(table, "\n")
	if at := strings.Index(header, "LAST USED"); at < 0 || len(row) < at || row[at] < '0' || row[at] > '9' {
		t.Errorf("kubectl get says\n%s", table)
	}
}

// checkAuditLog checks that a request with each key is in the audit log, and the token of none.
func (i *installation) checkAuditLog(t *testing.T, log string, keys []*keysv1alpha1.ApiKey) {
	t.Helper()
	written, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for line := range strings.Lines(string(written)) {
		var entry struct{ Outcome, Key, Path string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		if entry.Outcome == "allow" && entry.Key != "" && entry.Path == "/api/products" {
			passed++
		}
	}
	if passed != len(keys) {
		t.Errorf("%d requests passed, says the audit log:\n%s", passed, written)
	}
	for _, key := range keys {
		if strings.Contains(string(written), i.tokenOf(t, key)) {
			t.Error("a token is in the audit log")
		}
	}
}

// TestAuditLogToAPipeThatIsClosed checks that a verifier outlives whoever reads its standard output.
func TestAuditLogToAPipeThatIsClosed(t *testing.T) {
	i := newInstallation(t)
	if err := i.cp.Client.Create(t.Context(), fixture.Policy("nexuscommerce")); err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	health, address := program.FreeAddress(t), program.FreeAddress(t)
	verifier := program.StartTo(t, writer, program.Build(t, "./cmd/verifier"),
		"--kubeconfig="+install.Kubeconfig(t, i.cp, "apikey-verifier"), "--name=verifier-2", "--audit-log=-",
		"--metrics-bind-address=0", "--health-probe-bind-address="+health,
		"--http-bind-address="+address, "--grpc-bind-address="+program.FreeAddress(t), "--insecure-plain-text")
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	program.WaitUntil(t, patience, "a second verifier", program.Answers(t.Context(), "http://"+health+"/readyz"))
	i.verifierURL = "http://" + address
	key := i.mint(t)
	token := i.tokenOf(t, key)
	i.eventually(t, token, key.Status.TenantID, http.MethodGet, "/api/products", http.StatusOK)
	if line, err := bufio.NewReader(reader).ReadString('\n'); err != nil || !strings.Contains(line, key.Namespace+"/"+key.Name) {
		t.Errorf("%s: %v", line, err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	program.WaitUntil(t, patience, "a write that fails", func() error {
		if got, err := i.ask(t.Context(), token, key.Status.TenantID, http.MethodGet, "/api/products"); err != nil || got.status != http.StatusOK {
			t.Fatalf("%v %v", got, err)
		}
		if !strings.Contains(verifier.Log(), "Can't write to the audit log") {
			return fmt.Errorf("none is logged")
		}
		return nil
	})
	if code := verifier.Terminate(patience); code != 0 {
		t.Errorf("the verifier ended with %d\n%s", code, verifier.Log())
	}
}
