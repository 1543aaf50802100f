package browser_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/go-rod/rod/lib/proto"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

var startLink = regexp.MustCompile(`(http://127\.0\.0\.1:\d+)(/start/\S+)`)

// plugin is a login plugin of a kubeconfig: it records that it was called, and returns a credential.
const plugin = `#!/bin/sh
cd "$(dirname "$0")" && echo asked >>notes && cat credential.json
`

// pluginKubeconfig writes a kubeconfig with a person's rights and without a credential, which a login plugin returns.
// It returns its path, and that of the plugin's record.
func (e *environment) pluginKubeconfig(t *testing.T, who person) (path, notes string) {
	t.Helper()
	folder := t.TempDir()
	path, notes = filepath.Join(folder, "kubeconfig"), filepath.Join(folder, "notes")
	for name, content := range map[string]string{
		"login": plugin,
		"credential.json": fmt.Sprintf(
			`{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": %q}}`, who.token),
		"kubeconfig": fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "it",
			"contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
			"clusters": [{"name": "it", "cluster": {"server": %q, "certificate-authority-data": %q}}],
			"users": [{"name": "it", "user": {
			"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./login", "interactiveMode": "Never"}}}]}`,
			e.Config.Host, base64.StdEncoding.EncodeToString(e.Config.CAData)),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return path, notes
}

// servesItself uses the page that kubectl apikey ui serves, with a kubeconfig that has a login plugin: there is no
// token that could be pasted into a form.
func (e *environment) servesItself(t *testing.T) {
	kubeconfig, notes := e.pluginKubeconfig(t, e.alice)
	own, ui, start := e.startsOwn(t, kubeconfig)
	s := own.open(t, wide, light)
	s.enters(start)
	s.find("heading", "API Keys")
	s.settles()
	s.reads("Signed in as "+e.alice.name, "Acme Ltd", acmeID)
	s.row("storefront", "Active")
	s.hasNone("Sign out")
	s.checkOwnSecret(start)
	s.state("own")
	if asked, err := os.ReadFile(notes); err != nil || len(asked) == 0 {
		t.Errorf("the login plugin was not asked: %v", err)
	}

	token := s.makes("From Here", "products:read")
	e.calls(t, token, acmeID, http.MethodGet, "/api/products", http.StatusOK)
	s.keepSource("the page of one's own")
	s.revokes("From Here", "from-here")
	e.calls(t, token, acmeID, http.MethodGet, "/api/products", http.StatusUnauthorized)

	e.kubectl(t, "delete", "apikey", "-n", warehouse, "from-here")
	s.wait("the row to go", func() error { return s.rowIsGone("from-here") })

	stranger := own.open(t, wide, light)
	stranger.expected = append(stranger.expected,
		"network: Failed to load resource: the server responded with a status of 403")
	for _, path := range []string{start, "/namespaces/" + warehouse} {
		stranger.open(path)
		stranger.find("heading", "This page is somebody else's")
	}
	stranger.state("somebody-elses")

	s.expected = append(s.expected, "network: Failed to load resource: net::ERR_")
	ui.Signal(syscall.SIGINT)
	<-ui.Exited()
	s.reads("The console can't be reached.")
	s.row("storefront", "Active")
	s.state("own-ended")
	e.evidence.keep("what kubectl apikey ui has printed", ui.Log())
}

// startsOwn serves the page with a kubeconfig. It returns an environment for that page, the program, and the path of
// its link.
func (e *environment) startsOwn(t *testing.T, kubeconfig string) (own *environment, ui *program.Process, start string) {
	t.Helper()
	ui = program.Start(t, program.Build(t, "./cmd/kubectl-apikey"), "ui", "--kubeconfig="+kubeconfig, "-n", warehouse,
		"--no-browser")
	var link []string
	program.WaitUntil(t, timeout, "a link", func() error {
		if link = startLink.FindStringSubmatch(ui.Log()); link == nil {
			return fmt.Errorf("%q", ui.Log())
		}
		return nil
	})
	copied := *e
	copied.url = link[1]
	return &copied, ui, link[2]
}

// enters opens the link that works once. Its page leads on by itself.
func (s *browserSession) enters(start string) {
	s.t.Helper()
	s.goes(s.e.url + start)
	s.wait("the page behind the link", func() error {
		path, err := s.page.Timeout(timeout).Eval(`() => document.readyState + " " + location.pathname`)
		if err == nil && path.Value.Str() != "complete /namespaces/"+warehouse {
			err = fmt.Errorf("it is %s", path.Value.Str())
		}
		return err
	})
}

// checkOwnSecret checks that the page is open, shows nothing of the link's secret, and has no cookie, which other ports
// would get.
func (s *browserSession) checkOwnSecret(start string) {
	s.t.Helper()
	_, secret, _ := strings.Cut(start, "/start/")
	if seen := s.eval(`() => location.href + " " + document.referrer`).Str(); strings.Contains(seen, secret) {
		s.t.Error("the link is in sight")
	}
	s.hasNoCookies()
	if kept := s.eval(`() => Object.keys(localStorage).length + " " + Object.keys(sessionStorage)
	  .join(" ")`).Str(); kept != "0 apikey-session" {
		s.t.Errorf("the browser keeps %q", kept)
	}
}

func (s *browserSession) hasNoCookies() {
	s.t.Helper()
	cookies, err := proto.StorageGetCookies{BrowserContextID: s.browser.BrowserContextID}.Call(s.browser)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(cookies.Cookies) != 0 {
		s.t.Errorf("there are %d cookies, the first is %s", len(cookies.Cookies), cookies.Cookies[0].Name)
	}
}
