package programs

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const top = "../../../.."

// pinned returns the version of a module that a go.mod pins.
func pinned(t *testing.T, gomod, dependency string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(top, gomod))
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`(?m)^\s*` + regexp.QuoteMeta(dependency) + ` v(\S+)`).FindSubmatch(content)
	if match == nil {
		t.Fatalf("%s has no %s", gomod, dependency)
	}
	return string(match[1])
}

func TestVersions(t *testing.T) {
	if want := pinned(t, "hack/tools/controlplane/go.mod", "k8s.io/kubernetes"); kubernetes != want {
		t.Errorf("Kubernetes is %s here, and %s in hack/tools/controlplane", kubernetes, want)
	}
	if want := pinned(t, "hack/tools/caddy/go.mod", "github.com/caddyserver/caddy/v2"); caddy != want {
		t.Errorf("Caddy is %s here, and %s in hack/tools/caddy", caddy, want)
	}
	if want := pinned(t, "hack/tools/contour/go.mod", "github.com/projectcontour/contour"); contour != want {
		t.Errorf("Contour is %s here, and %s in hack/tools/contour", contour, want)
	}
	if want := pinned(t, "hack/tools/envoygateway/go.mod", "github.com/envoyproxy/gateway"); envoyGateway != want {
		t.Errorf("Envoy Gateway is %s here, and %s in hack/tools/envoygateway", envoyGateway, want)
	}
}

// TestTable checks that every download has a checksum, and that every program that is not downloaded can be built.
func TestTable(t *testing.T) {
	sum := regexp.MustCompile(`^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$`)
	for _, p := range table {
		if !p.buildable() && len(p.Downloads) == 0 || p.Dir == "" || p.Version == "" {
			t.Errorf("%s is incomplete: %+v", p.Name, p)
		}
		for _, d := range p.Downloads {
			for target, file := range d.Files {
				if !sum.MatchString(file.Sum) || file.Member == "" ||
					(d.Project == "") != strings.HasPrefix(file.Name, "https://") {
					t.Errorf("%s, %s, %s: %+v", p.Name, d.From, target, file)
				}
			}
		}
	}
}

// module returns the folder of a module that a go.mod pins, if this machine has it.
func module(t *testing.T, dir, path string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", path)
	command.Dir = filepath.Join(top, dir)
	command.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=")
	out, err := command.Output()
	var info struct{ Dir string }
	if err != nil || json.Unmarshal(out, &info) != nil || info.Dir == "" {
		t.Skipf("the module %s is not on this machine", path)
	}
	return info.Dir
}

// TestEnvtestSums checks that the checksums are those of the list of releases in the module.
func TestEnvtestSums(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(module(t, ".", "sigs.k8s.io/controller-tools"), "envtest-releases.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range envtest("etcd").Files {
		name := file.Name[strings.LastIndex(file.Name, "/")+1:]
		_, entry, _ := bytes.Cut(content, []byte(name+":\n"))
		want := "      hash: " + strings.TrimPrefix(file.Sum, "sha512:") + "\n      selfLink: " + file.Name + "\n"
		if !strings.HasPrefix(string(entry), want) {
			t.Errorf("%s: the list has\n%.300s", name, entry)
		}
	}
}

// TestServerSums checks that the checksums are those of the changelog in the module.
func TestServerSums(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(module(t, "hack/tools/controlplane", "k8s.io/kubernetes"), "CHANGELOG",
		"CHANGELOG-1.37.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range kubernetesServer("kubelet").Files {
		name := file.Name[strings.LastIndex(file.Name, "/")+1:]
		if want := "[" + name + "](" + file.Name + ") | " +
			strings.TrimPrefix(file.Sum, "sha512:") + "\n"; !bytes.Contains(content, []byte(want)) {
			t.Errorf("the changelog has no %s", want)
		}
	}
}
