package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// TestReadme checks that the README says what is not covered without each program.
func TestReadme(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), markdown()) {
		t.Errorf("README.md must have this table:\n%s", markdown())
	}
}

func rowOf(t *testing.T, rows []row, name string) row {
	t.Helper()
	for _, r := range rows {
		if r.name == name {
			return r
		}
	}
	t.Fatalf("no row for %s", name)
	return row{}
}

// TestRows checks how missing programs are brought, on different machines.
func TestRows(t *testing.T) {
	having := func(all ...string) func(need.Item) (string, error) {
		return func(i need.Item) (string, error) {
			for _, name := range all {
				if i.Name == name {
					return "/here/" + name, nil
				}
			}
			return "", errors.New("missing")
		}
	}
	all := modes["full"].folders()
	for name, c := range map[string]struct {
		machine machine
		want    map[string]string
	}{
		"nothing there, not root": {machine{look: having()}, map[string]string{
			"nginx": "MISSING: apt-get install nginx-light", "caddy": "will be brought: ", "promtool": "will be built",
			"contour":  "MISSING: make contour",
			"etcd":     "will be brought: ",
			"axe-core": "MISSING: npm", "mount namespaces": "MISSING: unshare",
		}},
		"nothing there, root on Debian": {machine{look: having(), debian: true}, map[string]string{
			"nginx": "will be installed (Debian: nginx-light)", "promtool": "will be installed (Debian: prometheus)",
			"caddy":    "will be brought: ",
			"axe-core": "will be installed (Debian: npm)",
		}},
		"nothing there, at night": {machine{look: having(), nightly: true}, map[string]string{
			"contour": "will be brought: build ", "caddy": "will be brought: ",
		}},
		"npm there": {
			machine{look: having("npm"), debian: true}, map[string]string{"axe-core": "will be downloaded by npm"},
		},
		"all there": {
			machine{look: having("nginx", "etcd"), debian: true},
			map[string]string{"nginx": "/here/nginx", "etcd": "/here/etcd"},
		},
		"in the checkout": {machine{look: having("etcd"), top: "/here"}, map[string]string{"etcd": "etcd"}},
		"a control plane of the user's, which lacks some": {machine{look: having("etcd"), assets: "/mine"}, map[string]string{
			"etcd": "/here/etcd", "kubectl": "MISSING: hack/tools/controlplane/ensure.sh",
		}},
	} {
		rows := c.machine.rows(all)
		for program, want := range c.want {
			if got := rowOf(t, rows, program).where(); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s: %q, want %q", name, program, got, want)
			}
		}
	}
	none := machine{}
	if got := none.compilerRow("").where(); !strings.HasPrefix(got, "MISSING: apt-get install gcc") {
		t.Errorf("no compiler: %s", got)
	}
}

// TestRowsOfSomeTests checks that a run of some tests looks only for what these need.
func TestRowsOfSomeTests(t *testing.T) {
	m := machine{look: func(need.Item) (string, error) { return "", errors.New("missing") }}
	for folder, want := range map[string]string{
		"internal/token":         "",
		"hack/suites/monitoring": "kubectl promtool",
		"internal/test/suites/bypass": "etcd kube-apiserver kube-controller-manager kubectl " +
			"caddy envoy traefik contour envoy-gateway nginx haproxy network namespaces",
		"controllers/apikey": "etcd kube-apiserver kubectl",
	} {
		var all []string
		for _, r := range m.rows([]string{folder}) {
			all = append(all, r.name)
		}
		if got := strings.Join(all, " "); got != want {
			t.Errorf("%s: %s, want %s", folder, got, want)
		}
	}
}

func TestPrintTable(t *testing.T) {
	var out strings.Builder
	printTable(&out, []row{{name: "nginx", how: "apt-get install nginx-light", without: "attacks"},
		{name: "bash", found: "/bin/bash", without: "commands"}})
	want := "PROGRAM   WHERE                                  NOT COVERED WITHOUT IT\n" +
		"nginx     MISSING: apt-get install nginx-light   attacks\n" +
		"bash      /bin/bash                              commands\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
