package plugin_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/processes"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

var startLink = regexp.MustCompile(`(http://127\.0\.0\.1:\d+)/start/(\S+)`)

// opener takes the browser's place: it notes which file it is given, its mode, and all of its arguments.
const opener = `#!/bin/sh
{ stat -c '%a %n' "$1" "$(dirname "$1")" && echo "$*" && cat "$1"; } >"$NOTES.new" && mv "$NOTES.new" "$NOTES"
`

// page has what the tests of kubectl apikey ui need: a namespace with the key storefront, a kubeconfig for it, and a
// browser.
type page struct {
	*cluster
	namespace, kubeconfig string
	// folder holds the browser, and what it notes.
	folder string
}

// TestPage serves the page on this machine to the one browser that has opened the link, with the rights of the
// kubeconfig, until it is interrupted or no page is open any more. It fails if the link is given to the browser as an
// argument, if it works twice, and if any Host is answered.
func TestPage(t *testing.T) {
	p := newPage(t, sharedCluster(t))
	t.Run("who gets in", p.letsOneIn)
	t.Run("nobody looks", p.endsByItself)
}

func newPage(t *testing.T, c *cluster) *page {
	t.Helper()
	p := &page{cluster: c, namespace: "page-shop", folder: t.TempDir()}
	p.kubeconfig = filepath.Join(p.folder, "kubeconfig")
	if err := c.newTenant(t.Context(), p.namespace); err != nil {
		t.Fatal(err)
	}
	if err := c.kubeconfig(p.kubeconfig, p.namespace, "page-admin", "system:masters"); err != nil {
		t.Fatal(err)
	}
	key := fixture.ApiKey(p.namespace, "storefront", func(k *keysv1alpha1.ApiKey) { k.Spec.DisplayName = "Storefront" })
	if err := c.Client.Create(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	c.Await(t, key, keysv1alpha1.ConditionReady)
	if err := os.WriteFile(filepath.Join(p.folder, "xdg-open"), []byte(opener), 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

// serve serves the page, and waits until the link is there.
func (p *page) serve(t *testing.T, args ...string) *program.Process {
	t.Helper()
	ui := program.Start(t, "env", append([]string{
		"PATH=" + p.folder + string(os.PathListSeparator) + os.Getenv("PATH"), "NOTES=" + filepath.Join(p.folder, "notes"),
		p.plugin, "ui", "--kubeconfig=" + p.kubeconfig,
	}, args...)...)
	program.WaitUntil(t, timeout, "a link", func() error {
		if !startLink.MatchString(ui.Log()) {
			return fmt.Errorf("%q", ui.Log())
		}
		return nil
	})
	return ui
}

// endsByItself checks that the page ends when no browser has it open, although another account of the machine sends
// requests all the time.
func (p *page) endsByItself(t *testing.T) {
	ui := p.serve(t, "--no-browser", "--idle-timeout=1s")
	url := startLink.FindStringSubmatch(ui.Log())[1]
	go func() {
		for {
			select {
			case <-ui.Exited():
				return
			case <-time.After(100 * time.Millisecond):
			}
			if response, err := http.Get(url + "/namespaces"); err == nil { //nolint:noctx // It ends with the page.
				_ = response.Body.Close()
			}
		}
	}()
	select {
	case <-ui.Exited():
	case <-time.After(timeout):
		t.Fatal("it goes on and on")
	}
	if !strings.Contains(ui.Log(), "No page was open for 1s") {
		t.Error(ui.Log())
	}
}

func (p *page) letsOneIn(t *testing.T) {
	watch := processes.Start(t)
	ui := p.serve(t)
	link := startLink.FindStringSubmatch(ui.Log())
	url, secret := link[1], link[2]
	file := p.openedFile(t, link[0])

	shop := "/namespaces/" + p.namespace
	key := "/api" + shop + "/keys/storefront"
	for _, path := range []string{"/api/user", "/api/namespaces", key, "/api" + shop + "/stream", "/start/guessed"} {
		if status, _ := visit(t, "", url+path, ""); status < 400 {
			t.Errorf("%s: %d for who has not come by the link", path, status)
		}
	}
	for _, path := range []string{"/", shop} {
		if _, body := visit(t, "", url+path, ""); strings.Contains(body, "Storefront") {
			t.Errorf("%s has keys for who has not come by the link", path)
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the browser's file goes by what somebody else asks for: %v", err)
	}
	status, body := visit(t, "", link[0], "")
	tab := sessionMeta.FindStringSubmatch(body)
	if status != http.StatusOK || tab == nil {
		t.Fatalf("the link: %d", status)
	}
	program.WaitUntil(t, timeout, "the file to go", func() error {
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			return fmt.Errorf("%s is still there: %w", file, err)
		}
		return nil
	})
	if status, body := visit(t, tab[1], url+key, ""); status != http.StatusOK ||
		!strings.Contains(body, "Storefront") {
		t.Errorf("with the link: %d", status)
	}
	p.generates(t, url, tab[1])
	if status, _ := visit(t, tab[1], link[0], ""); status < 400 {
		t.Errorf("the link, once more: %d", status)
	}
	if status, _ := visit(t, tab[1], url+"/api/user", "rebound.example"); status < 400 {
		t.Errorf("by another name: %d", status)
	}
	for _, process := range watch.Seen() {
		if strings.Contains(process.Line+process.Environment, secret) {
			t.Errorf("the link is in what process %s was started with", process.Name)
		}
	}
	ui.Signal(syscall.SIGINT)
	<-ui.Exited()
	if ui.ExitCode() != 0 {
		t.Errorf("told to stop, it ends with %d: %s", ui.ExitCode(), strings.ReplaceAll(ui.Log(), secret, "…"))
	}
}

// openedFile returns the file that the browser was given. Only its owner may read it, and it must lead to the link.
func (p *page) openedFile(t *testing.T, link string) string {
	t.Helper()
	var notes []byte
	program.WaitUntil(t, timeout, "a browser that is opened", func() (err error) {
		notes, err = os.ReadFile(filepath.Join(p.folder, "notes"))
		return err
	})
	lines := strings.SplitN(string(notes), "\n", 4)
	file, ok := strings.CutPrefix(lines[0], "600 ")
	if !ok || !strings.HasPrefix(lines[1], "700 ") || !strings.Contains(lines[3], link) {
		t.Errorf("the browser was given a file of %q in a folder of %q", lines[0], lines[1])
	}
	if lines[2] != file { // Every account of the machine can read arguments.
		t.Errorf("the browser was given arguments beside the file: %d characters", len(lines[2]))
	}
	return file
}

// generates creates a key, as the page's script does.
func (p *page) generates(t *testing.T, url, tab string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/namespaces/"+p.namespace+"/keys",
		strings.NewReader(`{"displayName":"From Here","name":"from-here","scopes":["products:read"]}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Apikey-Session", tab)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(content), `"token":"nxc_live_`) {
		t.Errorf("a key by who came by the link: %d, %v", response.StatusCode, err)
		for line := range strings.Lines(string(content)) {
			if strings.Contains(line, `"problem"`) {
				t.Error(line)
			}
		}
	}
}

// sessionMeta matches the secret of the session in the page that the link leads to.
var sessionMeta = regexp.MustCompile(`<meta name="session" content="([^"]+)">`)

// visit requests a URL, with a session's secret and a host name if these aren't blank, and returns the status and the
// beginning of the answer. No answer may set a cookie: other ports of the address would get it.
func visit(t *testing.T, tab, url, host string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	request.Header.Set("X-Apikey-Session", tab)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if cookies := response.Cookies(); len(cookies) > 0 {
		t.Errorf("%s sets a cookie", request.URL.Path)
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}
