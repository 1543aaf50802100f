// Package need finds the programs that tests start and that a machine may lack. A test that needs one asks for it by
// name:
//
//	nginx := need.Program(t, "nginx")
//
// Where the program is missing the test is skipped, with a reason that names it and says how to get it, and
// hack/tools/testrunner lists the test again at the end of its run. With REQUIRE_ALL=1, as in CI, the test fails
// instead.
package need

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Require is the environment variable that makes a test fail, instead of being skipped, where what it needs is missing.
const Require = "REQUIRE_ALL"

// Required reports whether Require is set.
func Required() bool { return os.Getenv(Require) != "" }

// Nightly is the environment variable by which make test-nightly says that tests have what only it brings.
const Nightly = "TEST_NIGHTLY"

// Item is a program, or something else that a machine may lack.
type Item struct {
	// Name is the program's own name, by which tests ask for it.
	Name string
	// Without says what is not covered without it.
	Without string
	// Debian is the package, or packages, that have it.
	Debian string
	// Target is the make target that brings it into bin/tools: as a download, or built from Go modules.
	Target string
	// Hint says how to get it, if Debian and Target don't.
	Hint string
	// Users are the folders of the packages whose tests ask for it. Blank is for every test.
	Users []string
	// Variable is the environment variable that names its path, if there is one.
	Variable string
	// Folder is the environment variable that names its folder, if it is in no other.
	Folder string
	// Built is set where only bin/tools is searched: another version than the pinned one could behave differently.
	Built bool
	// Nightly is set where only make test-nightly brings it, because that takes minutes of compiling. Elsewhere tests use
	// it where it is there, and Require does not count.
	Nightly bool
	// Probe reports why it does not work, for what is not just a file.
	Probe func() error
}

// assets is the environment variable for the folder of the control plane's programs.
const assets = "KUBEBUILDER_ASSETS"

const ensure = "hack/tools/controlplane/ensure.sh"

// systems are the folders whose tests start a control plane.
var systems = []string{"api", "controllers", "internal/feed", "internal/usage", "internal/test", "hack/suites/gitops",
	"hack/suites/guides", "hack/suites/helm", "hack/suites/browser"}

// realProxies are the folders whose tests start proxies.
var realProxies = []string{"internal/test/suites/bypass", "internal/test/suites/conformance"}

// Namespaces is the item that internal/test/harness/enclave needs.
const Namespaces = "network namespaces"

// All are the things that tests need beyond Go and a POSIX shell, in the order in which people read of them.
var All = []Item{
	{Name: "etcd", Without: "everything that needs an API server", Hint: ensure, Folder: assets, Users: systems},
	{Name: "kube-apiserver", Without: "everything that needs an API server", Hint: ensure, Folder: assets, Users: systems},
	{
		Name: "kube-controller-manager", Without: "garbage collection, deleting namespaces", Hint: ensure, Folder: assets,
		Users: []string{"internal/test", "hack/suites/gitops", "hack/suites/browser"},
	},
	{
		Name: "kubectl", Without: "manifests, and every command of the documentation", Hint: ensure, Folder: assets,
		Users: append(slices.Clone(systems), "hack/suites/monitoring"),
	},
	{
		Name: "etcdutl", Without: "restoring etcd from a snapshot", Target: "etcdutl", Built: true,
		Users: []string{"internal/test/suites/restore"},
	},
	{Name: "caddy", Without: "attacks by way of Caddy", Target: "caddy", Built: true,
		Users: realProxies},
	{Name: "envoy", Without: "attacks by way of Envoy", Target: "envoy", Built: true,
		Users: realProxies},
	{Name: "traefik", Without: "attacks by way of Traefik", Target: "traefik", Built: true,
		Users: realProxies},
	{Name: "contour", Without: "attacks by way of Contour", Target: "contour", Built: true, Nightly: true,
		Users: realProxies},
	{
		Name: "envoy-gateway", Without: "attacks by way of Envoy Gateway", Target: "envoy-gateway", Built: true,
		Nightly: true, Users: realProxies,
	},
	{Name: "helm", Without: "the Helm chart", Target: "helm", Built: true, Users: []string{"hack/suites/helm"}},
	{Name: "promtool", Without: "whether alerts fire", Target: "promtool", Debian: "prometheus",
		Users: []string{"hack/suites/monitoring"}},
	{Name: "nginx", Without: "attacks by way of nginx", Debian: "nginx-light",
		Users: realProxies},
	{
		Name: "haproxy", Without: "attacks by way of HAProxy and haproxy-ingress; its ingress's snippets", Debian: "haproxy",
		Users: append(slices.Clone(realProxies), "hack/suites/guides"),
	},
	{
		Name: "bash", Without: "the documentation's commands", Debian: "bash",
		Users: []string{"internal/test/suites/docs", "hack/suites/guides"},
	},
	{Name: "curl", Without: "the documentation's commands that call the verifier", Debian: "curl",
		Users: []string{"internal/test/suites/docs"}},
	{Name: "openssl", Without: "the documentation's commands that make a certificate", Debian: "openssl",
		Users: []string{"internal/test/suites/docs"}},
	{Name: "script", Without: "kubectl apikey at a terminal", Debian: "bsdutils",
		Users: []string{"internal/test/suites/plugin"}},
	{
		Name: "mount namespaces", Without: "disks that are full or read-only", Probe: mountNamespaces,
		Hint:  "unshare (Debian: util-linux) that may be used: try unshare --map-root-user --mount true",
		Users: []string{"internal/test/suites/badstart"},
	},
	{
		Name: Namespaces, Without: "attacks by way of Contour and Envoy Gateway", Probe: namespaces, Nightly: true,
		Hint:  "unshare (Debian: util-linux) that may be used: try unshare --map-root-user --mount --net --pid --fork true",
		Users: realProxies,
	},
	{
		Name: "chromium", Without: "the settings page in a browser", Debian: "chromium", Variable: "CHROMIUM",
		Users: []string{"hack/suites/browser"},
	},
	{
		Name: "axe-core", Without: "barriers of the settings page", Debian: "npm", Hint: "npm (Debian: npm), then make axe",
		Probe: axe,
		Users: []string{"hack/suites/browser"},
	},
}

// Find returns the item of a name. It panics for one that is not in All, because people are told only what is listed
// there.
func Find(name string) Item {
	for _, item := range All {
		if item.Name == name {
			return item
		}
	}
	panic(fmt.Sprintf("need: no %q in All", name))
}

// How says in one line how to get it.
func (i Item) How() string {
	switch {
	case i.Hint != "":
		return i.Hint
	case i.Debian == "":
		return "make " + i.Target
	case i.Target == "":
		return "apt-get install " + i.Debian
	default:
		return "apt-get install " + i.Debian + ", or make " + i.Target
	}
}

// UsedBy reports whether tests in a folder ask for it.
func (i Item) UsedBy(folder string) bool {
	return len(i.Users) == 0 || slices.ContainsFunc(i.Users, func(user string) bool {
		return folder == user || strings.HasPrefix(folder, user+"/")
	})
}

// Look returns its path.
func (i Item) Look() (string, error) {
	if i.Probe != nil {
		return "works", i.Probe()
	}
	var places []string
	switch {
	case i.Variable != "" && os.Getenv(i.Variable) != "":
		places = []string{os.Getenv(i.Variable)}
	case i.Folder != "" && os.Getenv(i.Folder) == "":
		return "", fmt.Errorf("%s is not set", i.Folder)
	case i.Folder != "":
		places = []string{filepath.Join(os.Getenv(i.Folder), i.Name)}
	case i.Built:
		places = []string{filepath.Join(Tools(), i.Name)}
	default: // Debian puts servers into /usr/sbin, which is not in every PATH.
		places = []string{filepath.Join(Tools(), i.Name), i.Name, "/usr/sbin/" + i.Name}
	}
	var errs []error
	for _, place := range places {
		path, err := exec.LookPath(place)
		if err == nil {
			return path, nil
		}
		errs = append(errs, err)
	}
	return "", errs[0]
}

// Tools is the folder of the programs that make targets build.
func Tools() string {
	return filepath.Join(cmp.Or(os.Getenv("BIN"), filepath.Join(root(), "bin")), "tools")
}

// root is the folder of this repository's checkout, which tests run below.
func root() string {
	start, err := os.Getwd()
	if err != nil {
		return ""
	}
	for dir := start; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "hack", "tools", "controlplane", "go.mod")); err == nil {
			return dir
		}
	}
	return start
}

// Program returns the path of a program that is listed in All. Where it is missing the test is skipped.
func Program(t testing.TB, name string) string {
	t.Helper()
	item := Find(name)
	path, err := item.Look()
	if err == nil {
		return path
	}
	if Required() && (!item.Nightly || os.Getenv(Nightly) != "") {
		t.Fatalf("%s (%v; %s is set)", item.Reason(), err, Require)
	}
	t.Skip(item.Reason())
	return ""
}

// ControlPlane skips the test if a program of the control plane that it starts is missing. A test that was started
// without KUBEBUILDER_ASSETS continues, to the error that says what to do.
func ControlPlane(t testing.TB, others ...string) {
	t.Helper()
	if os.Getenv(assets) == "" {
		return
	}
	for _, name := range append([]string{"etcd", "kube-apiserver", "kubectl"}, others...) {
		Program(t, name)
	}
}

// Reason returns why a test that needs it is skipped.
func (i Item) Reason() string { return fmt.Sprintf("needs %s, which is missing: %s", i.Name, i.How()) }

var reason = regexp.MustCompile(`needs (.+?), which is missing: `)

// Missing returns what a skipped test lacks, read from its reason; blank if it was skipped for another reason.
func Missing(text string) string {
	if found := reason.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	return ""
}

// mountNamespaces tries to mount a file system in a namespace of its own, as tests of disks do.
func mountNamespaces() error {
	out, err := exec.Command("unshare", "--map-root-user", "--mount", "sh", "-c",
		"mount -t tmpfs none /tmp").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// namespaces tries to make the namespaces that an enclave has.
func namespaces() error {
	out, err := exec.Command("unshare", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--kill-child",
		"true").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// AxeCore returns the path where make axe puts axe-core.
func AxeCore() string {
	return filepath.Join(filepath.Dir(Tools()), "axe", "node_modules", "axe-core", "axe.min.js")
}

func axe() error {
	_, err := os.Stat(AxeCore())
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("bin/axe is missing")
	}
	return err
}
