//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

const (
	controllerDeployment, verifierDeployment = "apikey-controller", "apikey-verifier"

	// acme is the tenant of the samples.
	acme = "3714240b-2e06-4c35-8856-ccc1c096323e"
)

// variant is a version as it is installed: files of manifests.
type variant struct{ name, kinds, all string }

// upgraded is a cluster on which versions replace one another. Its workloads and its proxy are the release's, and stay.
type upgraded struct {
	*cluster

	release, head *variant
	keys          int
}

// TestUpgrade installs the last release on a node, upgrades it to the image of this tree, and goes back: twice, so that
// the controllers and the verifiers come first both times. The workloads' requests all pass.
func TestUpgrade(t *testing.T) {
	source := os.Getenv("RELEASE") // run.sh sets it.
	if source == "" {
		t.Skip("the last release is not built: E2E_UPGRADE=1 make e2e")
	}
	u := &upgraded{
		cluster: connect(t),
		release: newVariant(t, "the release", source, os.Getenv("RELEASE_IMAGE")),
		// As docs/upgrade.md asks of whoever comes from a release that spoke plain text.
		head: newVariant(t, "this tree", controlplane.Root(), "apikey-operator:dev", "config/components/plain-text"),
	}
	for _, step := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"install the release", func(t *testing.T) { u.installRelease(t, source) }},
		{"upgrade with controllers first", u.replacing(u.head, controllerDeployment, verifierDeployment)},
		{"back with verifiers first", u.replacing(u.release, verifierDeployment, controllerDeployment)},
		{"upgrade with verifiers first", u.replacing(u.head, verifierDeployment, controllerDeployment)},
		{"back with controllers first", u.replacing(u.release, controllerDeployment, verifierDeployment)},
	} {
		started := time.Now()
		if !t.Run(step.name, step.do) {
			describe(t)
			t.FailNow()
		}
		fmt.Printf("e2e: %s: ok after %.0f s\n", step.name, time.Since(started).Seconds())
	}
}

// newVariant renders the manifests of a version: those in its source, with an image.
func newVariant(t *testing.T, name, source, image string, components ...string) *variant {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(filepath.Join(folder, "config"), os.DirFS(filepath.Join(source, "config"))); err != nil {
		t.Fatal(err)
	}
	_, tag, _ := strings.Cut(image, ":")
	// Versions wait for a verifier that doesn't sign off in a way that they know: less than the usual 5 minutes.
	kustomization := fmt.Sprintf(`resources: [config/default]
components: [%s]
images: [{name: apikey-operator, newTag: "%s"}]
patches:
- target: {kind: Deployment, name: %s}
  patch: '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--max-staleness=30s"}]'
`, strings.Join(components, ", "), tag, verifierDeployment)
	if err := os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte(kustomization), 0o600); err != nil {
		t.Fatal(err)
	}
	v := &variant{name: name, kinds: filepath.Join(folder, "kinds.yaml"), all: filepath.Join(folder, "all.yaml")}
	for file, from := range map[string]string{v.kinds: filepath.Join(folder, "config", "crd"), v.all: folder} {
		if err := os.WriteFile(file, []byte(kubectl(t, "kustomize", from)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// without returns a file with a version's manifests, but for one Deployment.
func (v *variant) without(t *testing.T, deployment string) string {
	t.Helper()
	content, err := os.ReadFile(v.all)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for document := range strings.SplitSeq(string(content), "\n---\n") {
		if !strings.Contains("\n"+document, "\nkind: Deployment\n") ||
			!strings.Contains(document, "\n  name: "+deployment+"\n") {
			kept = append(kept, document)
		}
	}
	if want := strings.Count(string(content), "\n---\n"); len(kept) != want {
		t.Fatalf("%d of %d manifests are not the Deployment %s", len(kept), want+1, deployment)
	}
	file := filepath.Join(t.TempDir(), "manifests.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(kept, "\n---\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// applyAll applies kinds, and then manifests, as docs/upgrade.md does.
func applyAll(t *testing.T, kinds, manifests string) {
	t.Helper()
	kubectl(t, "apply", "--server-side", "-f", kinds)
	kubectl(t, "wait", "--for=condition=Established", "--timeout=2m", "-f", kinds)
	NewWithT(t).Eventually(func() error {
		out, err := exec.CommandContext(t.Context(), "kubectl", "apply", "--server-side", "-f", manifests).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	}, nodeTimeout, "1s").Should(Succeed())
}

// installRelease installs the release, its samples, its proxy's configuration and its workloads.
func (u *upgraded) installRelease(t *testing.T, source string) {
	applyAll(t, u.release.kinds, u.release.all)
	rolledOut(t, system, controllerDeployment, verifierDeployment)
	kubectl(t, "apply", "--server-side", "-k", filepath.Join(source, "config", "samples"))

	verifier := u.addressOf(t, system, "apikey-verifier")
	apply(t, "gateway.yaml", "${VERIFIER}", verifier)
	kubectl(t, "create", "configmap", "caddy", "--namespace=gateway",
		"--from-file="+filepath.Join(source, "docs", "guides", "caddy", "Caddyfile"))
	rolledOut(t, "gateway", "api", "gateway")
	clients := filepath.Join(source, "hack", "suites", "e2e", "manifests", "client.yaml")
	if _, err := os.Stat(clients); err != nil {
		clients = filepath.Join(source, "hack", "e2e", "manifests", "client.yaml") // v0.1.0
	}
	content, err := os.ReadFile(clients)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "client.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(content), "${VERIFIER}", verifier)), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "apply", "--server-side", "-f", file)
	rolledOut(t, "warehouse", "client", "impatient")
	u.underLoad(t, 0, func() { u.works(t) })
}

// replacing returns a step that replaces first one program's replicas and then the other's, under load. While replicas
// are replaced, and after that, keys are minted and revoked.
func (u *upgraded) replacing(v *variant, first, second string) func(*testing.T) {
	return func(t *testing.T) {
		u.underLoad(t, 0, func() {
			applyAll(t, v.kinds, v.without(t, second))
			u.works(t) // In a fleet of both versions.
			rolledOut(t, system, first)
			u.works(t)
			applyAll(t, v.kinds, v.all)
			u.works(t)
			rolledOut(t, system, first, second)
			u.works(t)
		})
	}
}

// works mints a key, calls the API with it, and revokes it: once that is effective, no request passes.
func (u *upgraded) works(t *testing.T) {
	t.Helper()
	g := NewWithT(t)
	u.keys++
	key := &keysv1alpha1.ApiKey{Spec: keysv1alpha1.ApiKeySpec{Scopes: []keysv1alpha1.Scope{"products:read"}}}
	key.Namespace, key.Name = "warehouse", fmt.Sprintf("upgrade-%d", u.keys)
	g.Expect(u.Create(t.Context(), key)).To(Succeed())
	kubectl(t, "wait", "--for=condition=Ready", "--namespace=warehouse", "apikey/"+key.Name, "--timeout="+minting.String())
	var secret corev1.Secret
	g.Expect(u.Get(t.Context(), client.ObjectKeyFromObject(key), &secret)).To(Succeed())
	token := string(secret.Data["token"])
	g.Expect(get(t, "/api/products", token, acme)).To(Equal(http.StatusOK))

	kubectl(t, "patch", "apikey", "--namespace=warehouse", key.Name, "--type=merge", "--patch",
		`{"spec":{"state":"Revoked"}}`)
	kubectl(t, "wait", "--for=condition=RevocationEffective", "--namespace=warehouse", "apikey/"+key.Name,
		"--timeout="+minting.String())
	for range 50 { // Every replica is asked.
		g.Expect(get(t, "/api/products", token, acme)).To(Equal(http.StatusUnauthorized))
	}
}
