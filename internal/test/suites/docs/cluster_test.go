package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

const patience = time.Minute

// installation is a control plane with the controller and a verifier, and the manifests of both, though no pods.
type installation struct {
	cp              *controlplane.ControlPlane
	verifier        string // its address
	verifierMetrics string // that of its metrics
	controller      string // that of the controller's metrics
	plugin          string // the path of kubectl-apikey
	// folder is where commands run: what they write stays there, and what they read of the repository is there too.
	folder string
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	cp := install.ControlPlane(t, controlplane.Options{ControllerManager: true})
	i := &installation{cp: cp, verifier: program.FreeAddress(t), verifierMetrics: program.FreeAddress(t),
		controller: program.FreeAddress(t),
		folder:     t.TempDir(), plugin: program.Build(t, "./cmd/kubectl-apikey")}
	for _, name := range []string{"config", "docs"} {
		if err := os.Symlink(filepath.Join(controlplane.Root(), name), filepath.Join(i.folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Dir(i.plugin), filepath.Join(i.folder, "bin")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rbac", "policy", "controller", "verifier"} {
		i.run(t, "kubectl apply --server-side -k config/"+name)
	}
	health := program.FreeAddress(t)
	program.Start(t, program.Build(t, "./cmd/controller"), "--kubeconfig="+install.Kubeconfig(t, cp, "apikey-controller"),
		"--metrics-bind-address="+i.controller, "--health-probe-bind-address=0", "--self-signed-certificates")
	program.Start(t, program.Build(t, "./cmd/verifier"), append(install.Mounted(t, cp, "apikey-verifier-tls"),
		"--kubeconfig="+install.Kubeconfig(t, cp, "apikey-verifier"), "--name=verifier-1",
		"--metrics-bind-address="+i.verifierMetrics, "--health-probe-bind-address="+health,
		"--http-bind-address="+i.verifier, "--grpc-bind-address="+program.FreeAddress(t),
		"--caller-audiences=apikey-verifier")...)
	program.WaitUntil(t, patience, "a ready verifier", install.AnswersTLS(t, cp, verifierName, health, "/readyz"))
	return i
}

// run runs a script as a person would who has kubectl and is at the top of the repository.
func (i *installation) run(t *testing.T, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, need.Program(t, "bash"), "-euo", "pipefail")
	command.Dir = i.folder
	command.Env = append(os.Environ(), "KUBECONFIG="+i.cp.Kubeconfig, "HOME="+i.folder,
		"VERIFIER="+i.at(t, verifierName, i.verifier), "VERIFIER_ADMIN="+i.at(t, metricsName, i.verifierMetrics),
		"PATH="+strings.Join([]string{filepath.Dir(i.cp.Kubectl), filepath.Dir(i.plugin), os.Getenv("PATH")},
			string(os.PathListSeparator)))
	command.Stdin = strings.NewReader(script)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	command.WaitDelay = time.Second
	if err := command.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if strings.Contains(out.String(), "Warning:") {
		t.Errorf("the API server warns:\n%s", out.String())
	}
}

// Names of the Services.
const (
	verifierName = "apikey-verifier.apikey-system.svc"
	metricsName  = "apikey-verifier-metrics.apikey-system.svc"
)

// at returns the URL of a Service, at the port of an address that curl is told to find it at.
func (i *installation) at(t *testing.T, name, address string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "" // There is none.
	}
	file, err := os.OpenFile(filepath.Join(i.folder, ".curlrc"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(file, "resolve = %s:%s:%s\n", name, port, host); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return "https://" + name + ":" + port
}

// begin makes the cluster what it is for who has just applied the samples and the examples: everything Ready, and one
// root key.
func (i *installation) begin(t *testing.T, examples []pages.Block) {
	t.Helper()
	i.run(t, `
		kubectl delete apikeys -A --field-selector=metadata.name!=verifier-canary
		kubectl delete tenants,accesspolicies --all
		kubectl delete secrets -n apikey-system -l keys.nexuscommerce.io/root
		kubectl apply -k config/samples`)
	var all strings.Builder
	for _, b := range examples {
		fmt.Fprintf(&all, "---\n# %s\n%s", b, b.Text)
	}
	if err := os.WriteFile(filepath.Join(i.folder, "examples.yaml"), []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	i.run(t, "kubectl apply -f examples.yaml")
	program.WaitUntil(t, patience, "every key Ready", func() error { return i.allReady(t.Context()) })
}

// allReady says which key is not Ready.
func (i *installation) allReady(ctx context.Context) error {
	var keys keysv1alpha1.ApiKeyList
	if err := i.cp.Client.List(ctx, &keys); err != nil {
		return err
	}
	ready := 0
	for j := range keys.Items {
		key := &keys.Items[j]
		if key.Name == keysv1alpha1.CanaryName {
			continue
		}
		if !apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionReady) {
			return fmt.Errorf("%s/%s: %v", key.Namespace, key.Name, key.Status.Conditions)
		}
		ready++
	}
	if ready < 5 {
		return fmt.Errorf("only %d keys", ready)
	}
	return nil
}

// blocksToApply returns the pages' manifests that are applied here.
func blocksToApply(t *testing.T) (examples []pages.Block) {
	t.Helper()
	for _, p := range pages.Run(t) {
		for _, b := range p.Blocks {
			if b.Language == "yaml" && mine(b) {
				examples = append(examples, b)
			}
		}
	}
	if len(examples) < 15 {
		t.Fatalf("only %d examples", len(examples))
	}
	return examples
}

// TestOnAControlPlane applies every example, and runs every command, section by section: each begins with the samples
// and the examples, and its blocks are one script.
func TestOnAControlPlane(t *testing.T) {
	all := pages.Run(t)
	examples := blocksToApply(t)
	i := newInstallation(t)
	if !t.Run("examples", func(t *testing.T) { i.begin(t, examples) }) {
		return
	}
	t.Run("metrics", i.metrics)
	for _, p := range all {
		for _, section := range sections(p) {
			t.Run(filepath.Base(p.Name)+": "+section.name, func(t *testing.T) {
				section.needs(t)
				i.begin(t, examples)
				i.run(t, section.script)
			})
		}
	}
}

// section is what is to be run of a section of a page.
type section struct {
	name, script string
}

// needs skips a section whose commands, or whose scripts of docs/examples, call a program that is missing.
func (s section) needs(t *testing.T) {
	t.Helper()
	called := s.script
	for _, path := range example.FindAllString(s.script, -1) {
		content, err := os.ReadFile(filepath.Join(controlplane.Root(), path))
		if err != nil {
			t.Fatal(err)
		}
		called += string(content)
	}
	for _, name := range []string{"curl", "openssl"} {
		if strings.Contains(called, name+" ") {
			need.Program(t, name)
		}
	}
}

var example = regexp.MustCompile(`docs/examples/[-\w]+\.sh`)

// mine says whether a block is to be applied or run here.
func mine(b pages.Block) bool { return b.Runner == pages.Docs && b.Exempt == "" }

func sections(p pages.Page) []section {
	var all []section
	for _, b := range p.Blocks {
		if b.Language != "test" && (b.Language != "sh" || !mine(b)) {
			continue
		}
		if len(all) == 0 || all[len(all)-1].name != b.Section {
			all = append(all, section{name: b.Section})
		}
		last := &all[len(all)-1]
		last.script += fmt.Sprintf("echo '--- %s' >&2\n%s\n", b, b.Text)
	}
	return all
}

var metricName = regexp.MustCompile(`(?m)^# TYPE (apikey_\w+) `)

// metrics checks that the programs' pages have their metrics. The counter of decisions is there once there is one.
func (i *installation) metrics(t *testing.T) {
	i.get(t, verifierName, i.verifier, "/auth/nginx")
	for page, target := range map[string]struct{ name, address string }{
		"docs/verifier.md":   {metricsName, i.verifierMetrics},
		"docs/controller.md": {"apikey-controller-metrics.apikey-system.svc", i.controller},
	} {
		p := pages.Read(t, page)
		names := metricName.FindAllStringSubmatch(i.get(t, target.name, target.address, "/metrics"), -1)
		if len(names) < 4 {
			t.Errorf("only %v found", names)
		}
		for _, name := range names {
			if p.Row(name[1]) == "" {
				t.Errorf("%s: no row for the metric %s", p.Name, name[1])
			}
		}
	}
}

// get returns a page.
func (i *installation) get(t *testing.T, name, address, path string) string {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: install.Trust(t, i.cp, name)}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestMakeToken checks that the script for tokens made elsewhere makes tokens, and prints their digests.
func TestMakeToken(t *testing.T) {
	for _, format := range []string{"nxc_live_", "nxc_test_"} {
		for range 10 { // The checksum's leading zeros and its order of bytes are a matter of luck.
			file := filepath.Join(t.TempDir(), "token")
			command := exec.CommandContext(t.Context(), "sh",
				filepath.Join(controlplane.Root(), "docs", "examples", "make-token.sh"), format, file)
			out, err := command.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			made, err := token.Parse(string(content))
			if err != nil || len(content) != 66 {
				t.Fatalf("no token: %v", err)
			}
			want := fmt.Sprintf("digest:\n  sha256: %s\n  prefix: %s\n", strings.TrimPrefix(made.Digest().String(), "sha256:"),
				made.Prefix())
			if string(out) != want || !strings.HasPrefix(made.Prefix(), format) {
				t.Errorf("printed %q, want %q", out, want)
			}
			if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
		}
	}
}
