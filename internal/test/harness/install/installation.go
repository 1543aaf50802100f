package install

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// Timeout is how long methods of Installation wait for something that must happen, before the test fails.
const Timeout = 2 * time.Minute

// Options choose what New installs and starts. The zero value is a control plane with the kinds and nothing else.
type Options struct {
	// ControlPlane chooses the parts of the control plane and their flags.
	ControlPlane controlplane.Options
	// Manifests are applied in this order: files of config/, or folders, which are kustomizations.
	Manifests []string
	// Objects are created after that.
	Objects []client.Object
	// Controller starts a controller, if it is not nil.
	Controller *ControllerOptions
	// Verifier starts a verifier, if it is not nil, and waits until it is ready.
	Verifier *VerifierOptions
}

// Installation is a control plane with the project on it: its manifests, and its programs as processes with the rights
// that these give them.
type Installation struct {
	*controlplane.ControlPlane

	// Controller and Verifier are those that New started, or nil. A test that replaces one may set the field.
	Controller *Controller
	Verifier   *Verifier

	// t is the test that the installation lives as long as.
	t testing.TB

	mu        sync.Mutex
	binaries  map[string]string
	verifiers int
}

// New installs the project for a test, and removes it when the test ends. The test is skipped where the control plane's
// programs are missing.
func New(t testing.TB, o Options) *Installation {
	t.Helper()
	i := &Installation{ControlPlane: ControlPlane(t, o.ControlPlane, o.Manifests...), t: t, binaries: map[string]string{}}
	i.Create(t, o.Objects...)
	if o.Controller != nil {
		i.Controller = i.StartController(t, *o.Controller)
	}
	if o.Verifier != nil {
		i.Verifier = i.StartVerifier(t, *o.Verifier)
	}
	return i
}

// Binary returns the path of the binary of a command, such as ./cmd/controller. It is built once for the installation.
func (i *Installation) Binary(command string) string {
	i.t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.binaries[command] == "" {
		i.binaries[command] = program.Build(i.t, command)
	}
	return i.binaries[command]
}

// Create creates objects as an administrator.
func (i *Installation) Create(t testing.TB, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := i.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// Get reads an object again, by its name.
func (i *Installation) Get(t testing.TB, object client.Object) {
	t.Helper()
	if err := i.Client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		t.Fatal(err)
	}
}

// Delete deletes an object.
func (i *Installation) Delete(t testing.TB, object client.Object) {
	t.Helper()
	if err := i.Client.Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

// logOnFailure prints the end of a process's log if the test fails.
func logOnFailure(t testing.TB, name string, process *program.Process) {
	t.Helper()
	t.Cleanup(func() {
		const most = 20_000
		if log := process.Log(); t.Failed() {
			t.Logf("the end of the log of %s:\n%s", filepath.Base(name), log[max(0, len(log)-most):])
		}
	})
}
