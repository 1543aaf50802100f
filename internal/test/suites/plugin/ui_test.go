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

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/processes"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

var startLink = regexp.MustCompile(`(http://127\.0\.0\.1:\d+)/start/(\S+)`)

// opener is what stands for a person's browser: it notes what it is given, and who could read that.
const opener = `#!/bin/sh
stat -c '%a %n' "$1" "$(dirname "$1")" >"$NOTES.new" && cat "$1" >>"$NOTES.new" && mv "$NOTES.new" "$NOTES"
`

// TestPage serves the page on this machine: to the one browser that came by the link, with the rights of the kubeconfig, until it
// is told to stop or nobody looks any more. It fails where the link is given to the browser as an argument, where it is good
// twice, and where any Host is answered.
func TestPage(t *testing.T) {
	i := newInstallation(t)
	t.Run("who gets in", i.letsOneIn)
	t.Run("nobody looks", func(t *testing.T) {
		ui := i.startPage(t, "--no-browser", "--idle-timeout=1s")
		// Another account of the machine asks all the time, which keeps nothing open.
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
		case <-t.Context().Done():
			t.Fatal("it goes on and on")
		}
		contains(t, ui.Log(), "No page was open for 1s")
	})
	i.fails(t, 2, []string{"-v=8"}, "ui", "--no-browser", "-v=8")
	i.fails(t, 2, []string{"--port"}, "ui", "--no-browser", "--port=70000")
}

// startPage serves the page, and waits until the link is there.
func (i *installation) startPage(t *testing.T, args ...string) *program.Process {
	t.Helper()
	ui := program.Start(t, "env", append([]string{
		"PATH=" + i.folder + string(os.PathListSeparator) + os.Getenv("PATH"), "NOTES=" + filepath.Join(i.folder, "notes"),
		i.plugin, "ui", "--kubeconfig=" + i.cp.Kubeconfig, "-n", "warehouse",
	}, args...)...)
	program.WaitUntil(t, patience, "a link", func() error {
		if !startLink.MatchString(ui.Log()) {
			return fmt.Errorf("%q", ui.Log())
		}
		return nil
	})
	return ui
}

func (i *installation) letsOneIn(t *testing.T) {
	if err := os.WriteFile(filepath.Join(i.folder, "xdg-open"), []byte(opener), 0o700); err != nil {
		t.Fatal(err)
	}
	watch := processes.Start(t)
	ui := i.startPage(t)
	link := startLink.FindStringSubmatch(ui.Log())
	url, secret := link[1], link[2]
	file := i.openedFile(t, link[0])

	for _, path := range []string{"/api/user", "/api/namespaces", "/api/namespaces/warehouse/keys/storefront", "/api/namespaces/warehouse/stream", "/start/guessed"} {
		if status, _ := visit(t, "", url+path, ""); status < 400 {
			t.Errorf("%s: %d for who has not come by the link", path, status)
		}
	}
	for _, path := range []string{"/", "/namespaces/warehouse"} {
		if _, body := visit(t, "", url+path, ""); strings.Contains(body, "Storefront") {
			t.Errorf("%s has keys for who has not come by the link", path)
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the browser's file goes by what somebody else asks for: %v", err)
	}
	status, body := visit(t, "", link[0], "")
	session := sessionMeta.FindStringSubmatch(body)
	if status != http.StatusOK || session == nil {
		t.Fatalf("the link: %d", status)
	}
	program.WaitUntil(t, patience, "the file to go", func() error {
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			return fmt.Errorf("%s is still there: %w", file, err)
		}
		return nil
	})
	if status, body := visit(t, session[1], url+"/api/namespaces/warehouse/keys/storefront", ""); status != http.StatusOK || !strings.Contains(body, "Storefront") {
		t.Errorf("with the link: %d", status)
	}
	i.generates(t, url, session[1])
	if status, _ := visit(t, session[1], link[0], ""); status < 400 {
		t.Errorf("the link, once more: %d", status)
	}
	if status, _ := visit(t, session[1], url+"/api/user", "rebound.example"); status < 400 {
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

// openedFile returns the file that the browser was given, which must be a person's own and lead to the link.
func (i *installation) openedFile(t *testing.T, link string) string {
	t.Helper()
	var notes []byte
	program.WaitUntil(t, patience, "a browser that is opened", func() (err error) {
		notes, err = os.ReadFile(filepath.Join(i.folder, "notes"))
		return err
	})
	lines := strings.SplitN(string(notes), "\n", 3)
	file, ok := strings.CutPrefix(lines[0], "600 ")
	if !ok || !strings.HasPrefix(lines[1], "700 ") || !strings.Contains(lines[2], link) {
		t.Errorf("the browser was given a file of %q in a folder of %q", lines[0], lines[1])
	}
	return file
}

// generates has the page make a key, as its script does.
func (i *installation) generates(t *testing.T, url, session string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/namespaces/warehouse/keys",
		strings.NewReader(`{"displayName":"From Here","name":"from-here","scopes":["products:read"]}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Apikey-Session", session)
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

// sessionMeta is where the page of the link has what lets a tab in.
var sessionMeta = regexp.MustCompile(`<meta name="session" content="([^"]+)">`)

// visit asks for an URL, with what lets a tab in and by the name of a host where these aren't blank, and returns the status and the
// beginning of the answer. No answer may set a cookie: other ports of the address would get it.
func visit(t *testing.T, session, url, host string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	request.Header.Set("X-Apikey-Session", session)
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
