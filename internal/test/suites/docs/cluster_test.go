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

const timeout = time.Minute

// reader is an installation with the manifests of both programs, though without pods, and a folder in which somebody
// who follows the documentation runs its commands.
type reader struct {
	*install.Installation

	plugin string // the path of kubectl-apikey
	// verifier is its address, which is known before it is started. verifierMetrics is empty where commands don't need it.
	verifier, verifierMetrics string
	// folder is where commands run: what they write stays there, and what they read of the repository is there too.
	folder string
}

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{
		Installation: install.New(t, install.Options{ControlPlane: controlplane.Options{ControllerManager: true}}),
		verifier:     program.FreeAddress(t), folder: t.TempDir(),
	}
	for _, name := range []string{"config", "docs"} {
		if err := os.Symlink(filepath.Join(controlplane.Root(), name), filepath.Join(r.folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// newReaderWithPrograms is newReader with the plugin, and with the programs running.
func newReaderWithPrograms(t *testing.T) *reader {
	t.Helper()
	r := newReader(t)
	r.plugin, r.verifierMetrics = r.Binary("./cmd/kubectl-apikey"), program.FreeAddress(t)
	if err := os.Symlink(filepath.Dir(r.plugin), filepath.Join(r.folder, "bin")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rbac", "policy", "controller", "verifier"} {
		r.run(t, "kubectl apply --server-side -k config/"+name)
	}
	r.Controller = r.StartController(t, install.ControllerOptions{
		LeaderElection: true, Flags: []string{"--self-signed-certificates"},
	})
	r.Verifier = r.StartVerifier(t, install.VerifierOptions{
		Addresses: install.Addresses{HTTP: r.verifier, Metrics: r.verifierMetrics},
		TLS:       install.MountedTLS(t, r.ControlPlane, "apikey-verifier-tls", verifierName),
		Flags:     []string{"--caller-audiences=apikey-verifier"},
	})
	return r
}

// run runs a script as a person would who has kubectl, at the top of the repository.
func (r *reader) run(t *testing.T, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, need.Program(t, "bash"), "-euo", "pipefail")
	command.Dir = r.folder
	command.Env = append(os.Environ(), "KUBECONFIG="+r.Kubeconfig, "HOME="+r.folder,
		"VERIFIER="+r.at(t, verifierName, r.verifier), "VERIFIER_ADMIN="+r.at(t, metricsName, r.verifierMetrics),
		"PATH="+strings.Join([]string{filepath.Dir(r.Kubectl), filepath.Dir(r.plugin), os.Getenv("PATH")},
			string(os.PathListSeparator)))
	command.Stdin = strings.NewReader(script)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	command.WaitDelay = time.Second
	if err := command.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if pages.Warns(out.String()) {
		t.Errorf("the API server warns:\n%s", out.String())
	}
}

// Names of the Services.
const (
	verifierName = "apikey-verifier.apikey-system.svc"
	metricsName  = "apikey-verifier-metrics.apikey-system.svc"
)

// at returns the URL of a Service. Curl is configured to find its port at an address.
func (r *reader) at(t *testing.T, name, address string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "" // There is none.
	}
	file, err := os.OpenFile(filepath.Join(r.folder, ".curlrc"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
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

// allReady returns an error that names a key that is not Ready.
func (r *reader) allReady(ctx context.Context) error {
	var keys keysv1alpha1.ApiKeyList
	if err := r.Client.List(ctx, &keys); err != nil {
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
	r := newReaderWithPrograms(t)
	var begin *start
	if !t.Run("examples", func(t *testing.T) { begin = newStart(t, r, examples) }) {
		return
	}
	t.Run("metrics", r.metrics)
	for _, p := range all {
		for _, part := range sections(p) {
			t.Run(filepath.Base(p.Name)+": "+part.name, func(t *testing.T) {
				part.needs(t)
				begin.restore(t, r)
				r.run(t, part.script)
			})
		}
	}
}

// section is the script of a section of a page.
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

// mine reports whether this package applies or runs a block.
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
		last.script += fmt.Sprintf("echo '--- %s' >&2\n%s\n", b, pages.FromCheckout(b.Text))
	}
	return all
}

var metricName = regexp.MustCompile(`(?m)^# TYPE (apikey_\w+) `)

// metrics checks that the programs' pages have their metrics. The counter of decisions is there once there is one.
func (r *reader) metrics(t *testing.T) {
	r.get(t, verifierName, r.verifier, "/auth/nginx")
	for page, target := range map[string]struct{ name, address string }{
		"docs/verifier.md":   {metricsName, r.verifierMetrics},
		"docs/controller.md": {"apikey-controller-metrics.apikey-system.svc", r.Controller.Metrics},
	} {
		p := pages.Read(t, page)
		names := metricName.FindAllStringSubmatch(r.get(t, target.name, target.address, "/metrics"), -1)
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
func (r *reader) get(t *testing.T, name, address, path string) string {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: install.Trust(t, r.ControlPlane, name)}
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
