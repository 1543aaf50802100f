package handover_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/released"
)

// version is one of the two versions that an upgrade is about.
type version struct {
	name string
	// controller and verifier are the paths of binaries, kinds and manifests those of kustomizations.
	controller, verifier, kinds, manifests string
	// flags are those that the manifests give to each program, by its Deployment.
	flags map[string][]string
}

// lastRelease returns the last release, as docs/upgrade.md calls it.
func lastRelease(t *testing.T) *version {
	t.Helper()
	source := released.Last(t)
	config := filepath.Join(source.Folder, "config")
	return &version{
		name: source.Version, controller: source.Build(t, "./cmd/controller"), verifier: source.Build(t, "./cmd/verifier"),
		kinds: filepath.Join(config, "crd"), manifests: filepath.Join(config, "default"),
	}
}

// thisTree returns the version that the tree makes, with the component that docs/upgrade.md asks of whoever comes from
// a release that spoke plain text.
func thisTree(t *testing.T) *version {
	t.Helper()
	return &version{
		name: "HEAD", controller: program.Build(t, "./cmd/controller"), verifier: program.Build(t, "./cmd/verifier"),
		kinds: install.Config("crd"), manifests: install.Kustomization(t, []string{"default"}, "plain-text"),
	}
}

// staleness is the verifiers' --max-staleness: how long the other version waits for a verifier that did not sign off in
// a way that it knows.
const staleness = 20 * time.Second

// replicas is how many there are of each program.
const replicas = 2

// rollout is an installation whose replicas are replaced by those of another version.
type rollout struct {
	fleet

	controllers []*install.Controller
	verifiers   []*install.Verifier
	// running is the version of the replicas of each program, the new one while they are replaced.
	running struct{ controllers, verifiers *version }
}

// apply applies a version's kinds and manifests as docs/upgrade.md has it.
func (r *rollout) apply(t *testing.T, v *version) {
	t.Helper()
	install.Kubectl(t, r.ControlPlane, "apply", "--server-side", "-k", v.kinds)
	install.Kubectl(t, r.ControlPlane, "wait", "--for=condition=Established", "--timeout=2m",
		"crd/apikeys.keys.nexuscommerce.io", "crd/tenants.keys.nexuscommerce.io",
		"crd/accesspolicies.keys.nexuscommerce.io")
	program.WaitUntil(t, timeout, "the manifests are applied", func() error {
		_, err := r.RunKubectl(t.Context(), "apply", "--server-side", "-k", v.manifests)
		return err
	})
	v.flags = map[string][]string{
		"apikey-controller": r.flags(t, "apikey-controller"), "apikey-verifier": r.flags(t, "apikey-verifier"),
	}
}

// flags returns the flags that the manifests give to a program, without those about ports and files, which a process
// outside a pod has others of.
func (r *rollout) flags(t *testing.T, deployment string) []string {
	t.Helper()
	d := &appsv1.Deployment{}
	key := client.ObjectKey{Namespace: controlplane.SystemNamespace, Name: deployment}
	if err := r.Client.Get(t.Context(), key, d); err != nil {
		t.Fatal(err)
	}
	var flags []string
	for _, flag := range d.Spec.Template.Spec.Containers[0].Args {
		name, _, _ := strings.Cut(flag, "=")
		if strings.HasSuffix(name, "-bind-address") || strings.HasSuffix(name, "-file") || name == "--metrics-secure" ||
			name == "--insecure-plain-text" {
			continue
		}
		flags = append(flags, strings.ReplaceAll(flag, "$(POD_NAMESPACE)", controlplane.SystemNamespace))
	}
	return flags
}

// startController starts a controller of a version, and waits until it leads or stands by.
func (r *rollout) startController(t *testing.T, v *version) {
	t.Helper()
	c := r.StartController(t, install.ControllerOptions{
		Binary: v.controller, LeaderElection: true, Flags: v.flags["apikey-controller"],
	})
	program.WaitUntil(t, timeout, "a controller of "+v.name+" that stands for election", func() error {
		if !strings.Contains(c.Log(), "acquire leader lease") {
			return errors.New(c.Log())
		}
		return program.Answers(t.Context(), "http://"+c.Health+"/readyz")()
	})
	r.controllers = append(r.controllers, c)
}

// verifierOf starts a verifier of a version, which gets no requests yet.
func (r *rollout) verifierOf(t *testing.T, v *version) *install.Verifier {
	t.Helper()
	return r.StartVerifier(t, install.VerifierOptions{
		Binary: v.verifier, Flags: append(slices.Clip(v.flags["apikey-verifier"]), "--max-staleness="+staleness.String()),
	})
}

// startVerifier starts a verifier of a version that gets requests.
func (r *rollout) startVerifier(t *testing.T, v *version) {
	t.Helper()
	replica := r.verifierOf(t, v)
	r.http.add(replica.HTTP)
	r.grpc.add(replica.GRPC)
	r.verifiers = append(r.verifiers, replica)
}

// replaceControllers replaces the controllers one after another, each new one ready before an old one goes.
func (r *rollout) replaceControllers(t *testing.T, v *version) {
	t.Helper()
	for range replicas {
		r.startController(t, v)
		if code := r.controllers[0].Terminate(timeout); code != 0 {
			t.Errorf("a controller ends with %d:\n%s", code, r.controllers[0].Log())
		}
		r.controllers = r.controllers[1:]
	}
	r.running.controllers = v
}

// replaceVerifier replaces the oldest verifier.
func (r *rollout) replaceVerifier(t *testing.T, v *version) {
	t.Helper()
	r.startVerifier(t, v)
	r.stop(t, r.verifiers[0])
	r.verifiers = r.verifiers[1:]
	r.running.verifiers = v
}
