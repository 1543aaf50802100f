package system_test

import (
	"bufio"
	"encoding/json"
	"errors"
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
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// reconciliations returns how many times the controller has reconciled a key.
func reconciliations(t *testing.T, i *install.Installation) float64 {
	t.Helper()
	total := 0.0
	lines := bufio.NewScanner(strings.NewReader(program.Get(t, "http://"+i.Controller.Metrics+"/metrics")))
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

// awaitIdle waits until the controller has reconciled no key for a while, and returns how many times it had by then.
func awaitIdle(t *testing.T, i *install.Installation) float64 {
	t.Helper()
	const quiet = 2 * time.Second
	last, since := reconciliations(t, i), time.Now()
	program.WaitUntil(t, timeout, "a controller that is done", func() error {
		if total := reconciliations(t, i); total != last {
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
func awaitUse(t *testing.T, i *install.Installation, key *keysv1alpha1.ApiKey) {
	t.Helper()
	program.WaitUntil(t, timeout, "a key that was used", func() error {
		if err := i.Client.Get(t.Context(), client.ObjectKeyFromObject(key), key); err != nil {
			return err
		}
		if key.Status.LastUsedTime == nil {
			return errors.New("its status does not say that it was")
		}
		return nil
	})
}

// TestLastUsed uses keys. Their status, kubectl's table and the audit log show it; the controller has nothing to do
// because of it (L4); and a verifier that is asked to stop first writes what it has recorded.
func TestLastUsed(t *testing.T) {
	i := newInstallationWithPolicy(t)
	log := filepath.Join(t.TempDir(), "audit.jsonl")
	second := i.StartVerifier(t, install.VerifierOptions{Flags: []string{"--audit-log=" + log}})
	keys := make([]*keysv1alpha1.ApiKey, 4)
	for n := range keys {
		keys[n], _ = i.NewKey(t)
	}
	before := awaitIdle(t, i)

	used := keys[0]
	token := i.Token(t, used)
	second.AwaitAnswer(t,
		install.Question{Token: token, TenantID: used.Status.TenantID,
			Target: "/api/products?token=" + token}, http.StatusOK, "")
	awaitUse(t, i, used)
	if len(used.Status.Usage) != 1 || used.Status.Usage[0].ID != used.Status.Credentials[0].ID {
		t.Errorf("usage %v of credentials %v", used.Status.Usage, used.Status.Credentials)
	}
	checkTable(t, i, used)
	checkManagers(t, i, used)

	for _, key := range keys[1:] {
		second.AwaitAnswer(t, install.Question{Token: i.Token(t, key), TenantID: key.Status.TenantID}, http.StatusOK, "")
	}
	if code := second.Terminate(timeout); code != 0 {
		t.Errorf("the verifier ended with %d\n%s", code, second.Log())
	}
	for _, key := range keys[1:] {
		i.Get(t, key)
		if key.Status.LastUsedTime == nil {
			t.Error("a key was used before the verifier was told to stop, and its status doesn't say so")
		}
	}
	// The controller reconciles the canary when a verifier has come and when it has gone: twice at most.
	if looked := reconciliations(t, i) - before; looked >= float64(len(keys)) {
		t.Errorf("the controller reconciled %v times because %d keys were used", looked, len(keys))
	}

	checkAuditLog(t, i, log, keys)
}

// checkTable checks that kubectl's table says when a key was used.
func checkTable(t *testing.T, i *install.Installation, used *keysv1alpha1.ApiKey) {
	t.Helper()
	table, err := i.RunKubectl(t.Context(), "get", "apikey", "-n", used.Namespace, used.Name)
	if err != nil {
		t.Fatal(err)
	}
	header, row, _ := strings.Cut(table, "\n")
	if at := strings.Index(header, "LAST USED"); at < 0 || len(row) < at || row[at] < '0' || row[at] > '9' {
		t.Errorf("kubectl get says\n%s", table)
	}
}

// checkAuditLog checks that a request with each key is in the audit log, and the token of none.
func checkAuditLog(t *testing.T, i *install.Installation, log string, keys []*keysv1alpha1.ApiKey) {
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
		t.Errorf("%d requests passed, according to the audit log:\n%s", passed, written)
	}
	for _, key := range keys {
		if strings.Contains(string(written), i.Token(t, key)) {
			t.Error("a token is in the audit log")
		}
	}
}

// TestAuditLogToAPipeThatIsClosed checks that a verifier keeps answering when nobody reads its standard output any
// more.
func TestAuditLogToAPipeThatIsClosed(t *testing.T) {
	i := newInstallationWithPolicy(t)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	verifier := i.StartVerifier(t, install.VerifierOptions{Flags: []string{"--audit-log=-"}, Stdout: writer})
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	key, token := i.NewKey(t)
	question := install.Question{Token: token, TenantID: key.Status.TenantID}
	verifier.AwaitAnswer(t, question, http.StatusOK, "")
	if line, err := bufio.NewReader(reader).ReadString('\n'); err != nil ||
		!strings.Contains(line, key.Namespace+"/"+key.Name) {
		t.Errorf("%s: %v", line, err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	program.WaitUntil(t, timeout, "a write that fails", func() error {
		if got, err := verifier.Ask(t.Context(), question); err != nil || got.Status != http.StatusOK {
			t.Fatalf("%v %v", got, err)
		}
		if !strings.Contains(verifier.Log(), "Can't write to the audit log") {
			return errors.New("none is logged")
		}
		return nil
	})
	if code := verifier.Terminate(timeout); code != 0 {
		t.Errorf("the verifier ended with %d\n%s", code, verifier.Log())
	}
}
