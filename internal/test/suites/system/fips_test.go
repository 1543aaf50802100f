package system_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// TestFIPS runs controller and verifier in the mode of Go's FIPS 140-3 module in which everything that is not approved
// fails: they sign and serve certificates, mint a key, accept and refuse it. make test-fips has them built with the
// validated version of the module.
func TestFIPS(t *testing.T) {
	i := install.New(t, install.Options{
		Manifests: []string{"rbac", "policy", "verifier/canary.yaml"},
		Objects:   []client.Object{fixture.Policy("nexuscommerce")},
	})
	i.Controller = i.StartController(t, install.ControllerOptions{
		Binary: approvedOnly(t, i.Binary("./cmd/controller")), Flags: []string{"--self-signed-certificates"},
	})
	i.Verifier = i.StartVerifier(t, install.VerifierOptions{
		Binary: approvedOnly(t, i.Binary("./cmd/verifier")),
		TLS:    install.MountedTLS(t, i.ControlPlane, "apikey-verifier-tls", "apikey-verifier.apikey-system.svc"),
	})
	key, token := i.NewKey(t)
	question := install.Question{Token: token, TenantID: key.Status.TenantID}
	i.Verifier.AwaitAnswer(t, question, http.StatusOK, "")
	i.Revoke(t, key)
	i.Await(t, key, keysv1alpha1.ConditionRevocationEffective)
	i.Verifier.AwaitAnswer(t, question, http.StatusUnauthorized, `"reason":"revoked"`)
}

// approvedOnly returns the path of a program that runs another one in that mode. The control plane of the test does not
// run in it.
func approvedOnly(t *testing.T, binary string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(binary))
	script := fmt.Sprintf("#!/bin/sh\nGODEBUG=fips140=only exec '%s' \"$@\"\n", binary)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}
