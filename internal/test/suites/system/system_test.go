// Package system runs the controller and the verifier as they are run in production, as two processes with the rights
// of config/rbac against a real control plane, and looks at them from outside.
package system_test

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

const timeout = 30 * time.Second

// newInstallation starts a controller and a verifier, which log much, and creates objects.
func newInstallation(t *testing.T, objects ...client.Object) *install.Installation {
	t.Helper()
	return newInstallationThatLogs(t, "debug", objects...)
}

// newInstallationThatLogs is newInstallation with another level of the programs' logs.
func newInstallationThatLogs(t *testing.T, level string, objects ...client.Object) *install.Installation {
	t.Helper()
	debug := []string{"--zap-log-level=" + level}
	return install.New(t, install.Options{
		Manifests:  []string{"rbac", "verifier/canary.yaml"},
		Objects:    objects,
		Controller: &install.ControllerOptions{Flags: debug},
		Verifier:   &install.VerifierOptions{Flags: debug},
	})
}

// newInstallationWithPolicy is newInstallation with an API declared.
func newInstallationWithPolicy(t *testing.T) *install.Installation {
	t.Helper()
	return newInstallation(t, fixture.Policy("nexuscommerce"))
}
