// Package browser_test uses the settings page as people do: in Chromium, against a real API server with the controller
// and a verifier beside it. The API server's own RBAC decides what each person may do. Every state of the page that is
// checked has a screenshot in bin/screenshots, no serious barrier by axe-core, and no complaint of the browser. At the
// end, the tokens that were used are searched for in everything that was left behind.
package browser_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/processes"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const timeout = time.Minute

// These are the namespaces and tenants of config/samples.
const (
	warehouse = "warehouse" // belongs to Acme
	sandbox   = "sandbox"   // belongs to Globex
	acmeID    = "3714240b-2e06-4c35-8856-ccc1c096323e"
)

// person is a user whom the API server knows by a bearer token.
type person struct{ name, token string }

// environment is a control plane with the samples, the controller, a verifier and the console, and a browser.
type environment struct {
	*install.Installation

	ctx      context.Context
	console  *program.Process
	chromium *chromium
	// url is the console's address.
	url string
	// relay is the console's connection to the API server.
	relay *relay
	// program is the console's path, and flags are those that do not depend on its users.
	program string
	flags   []string
	// gateway stands for the API that the keys are for.
	gateway  *httptest.Server
	evidence *evidence
	watch    *processes.Watch

	// alice is an administrator of Acme's namespace, edward may edit it and victor may only view it. gloria is an
	// administrator of Globex's. nobody has no rights.
	alice, edward, victor, gloria, nobody person
}

func newEnvironment(t *testing.T) *environment {
	t.Helper()
	e := &environment{ctx: t.Context(), evidence: &evidence{}, watch: processes.Start(t)}
	people := map[string]*person{"alice": &e.alice, "edward": &e.edward, "victor": &e.victor, "gloria": &e.gloria,
		"nobody": &e.nobody}
	file := filepath.Join(t.TempDir(), "people.csv")
	var lines strings.Builder
	for name, who := range people {
		*who = person{name: name + "@nexuscommerce.example", token: name + "-" + rand.Text() + rand.Text()}
		e.evidence.canary(name+"'s bearer token", who.token)
		fmt.Fprintf(&lines, "%s,%s,%s\n", who.token, who.name, name)
	}
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	e.Installation = install.New(t, install.Options{
		ControlPlane: controlplane.Options{
			ControllerManager: true, APIServerArgs: map[string]string{"token-auth-file": file},
		},
		Manifests:  []string{"rbac", "policy", "verifier/canary.yaml"},
		Controller: &install.ControllerOptions{}, Verifier: &install.VerifierOptions{},
	})
	install.Kubectl(t, e.ControlPlane, "apply", "-k", install.Config("samples"))
	install.Kubectl(t, e.ControlPlane, "apply", "-f", filepath.Join("testdata", "rights.yaml"))
	for _, name := range []string{"warehouse-integration", "storefront"} {
		e.await(t, warehouse, name, keysv1alpha1.ConditionReady)
	}
	e.startGateway(t)
	e.startConsole(t)
	if err := os.MkdirAll(screenshots(), 0o755); err != nil {
		t.Fatal(err)
	}
	return e
}

// startGateway starts what stands for NexusCommerce's API: a proxy that asks the verifier, and passes its answer on.
func (e *environment) startGateway(t *testing.T) {
	t.Helper()
	e.gateway = httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		authRequest, err := http.NewRequestWithContext(r.Context(), http.MethodGet,
			e.Verifier.URL(e.Verifier.HTTP, "/auth/nginx"),
			http.NoBody)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		authRequest.Header = r.Header.Clone()
		authRequest.Header.Set("X-Original-URL", "https://"+r.Host+r.URL.RequestURI())
		authRequest.Header.Set("X-Original-Method", r.Method)
		answer, err := http.DefaultClient.Do(authRequest)
		if err != nil {
			http.Error(rw, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		rw.WriteHeader(answer.StatusCode)
	}))
	t.Cleanup(e.gateway.Close)
}

// startConsole starts the console with a certificate that the browser trusts, and the browser.
func (e *environment) startConsole(t *testing.T) {
	t.Helper()
	folder := t.TempDir()
	certificate := e.gateway.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}, "tls.key": {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "session.key"), []byte(rand.Text()+rand.Text()), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(e.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	e.relay = startRelay(t, server.Host)
	// The console's own account has the controller's rights, which it must not use for its users.
	kubeconfig, err := e.ServiceAccountKubeconfigAt("apikey-controller", "https://"+e.relay.address)
	if err != nil {
		t.Fatal(err)
	}
	e.program = program.Build(t, "./cmd/console")
	e.flags = []string{"--kubeconfig=" + kubeconfig, "--zap-log-level=debug", "--metrics-bind-address=0"}
	address, console := e.runConsole(t, "--tls-cert-file="+filepath.Join(folder, "tls.crt"),
		"--tls-private-key-file="+filepath.Join(folder, "tls.key"),
		"--session-key-file="+filepath.Join(folder, "session.key"))
	e.url, e.console = "https://"+address, console
	pin := sha256.Sum256(e.gateway.Certificate().RawSubjectPublicKeyInfo)
	e.chromium = startChromium(t, base64.StdEncoding.EncodeToString(pin[:]))
}

// runConsole runs a console, and returns its address.
func (e *environment) runConsole(t *testing.T, flags ...string) (address string, console *program.Process) {
	t.Helper()
	address, health := program.FreeAddress(t), program.FreeAddress(t)
	console = program.Start(t, e.program,
		slices.Concat(e.flags, flags, []string{"--http-bind-address=" + address, "--health-probe-bind-address=" + health})...)
	program.WaitUntil(t, timeout, "a ready console", program.Answers(t.Context(), "http://"+health+"/readyz"))
	return address, console
}

// await waits until a condition of a key is True.
func (e *environment) await(t *testing.T, namespace, name, condition string) *keysv1alpha1.ApiKey {
	t.Helper()
	key := &keysv1alpha1.ApiKey{}
	key.Namespace, key.Name = namespace, name
	e.Await(t, key, condition)
	return key
}

// token returns the token in a key's Secret.
func (e *environment) token(t *testing.T, namespace, secret string) string {
	t.Helper()
	token := install.Kubectl(t, e.ControlPlane, "get", "secret", "-n", namespace, secret, "-o",
		"go-template={{.data.token|base64decode}}")
	e.evidence.canary("the token of "+namespace+"/"+secret, token)
	return token
}

// call calls the API with a token, and returns the status.
func (e *environment) call(t *testing.T, token, tenantID, method, path string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, e.gateway.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "your-nexuscommerce.com"
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("X-Tenant-ID", tenantID)
	got, err := e.gateway.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	return got.StatusCode
}

// calls calls the API until it returns a status: verifiers learn about a new key or state within moments.
func (e *environment) calls(t *testing.T, token, tenantID, method, path string, status int) {
	t.Helper()
	program.WaitUntil(t, timeout, fmt.Sprintf("%s %s: %d", method, path, status), func() error {
		if got := e.call(t, token, tenantID, method, path); got != status {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
}
