//go:build e2e

package e2e_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
)

// consoleName is a name in the settings page's certificate.
const consoleName = "apikey-console.apikey-system.svc"

// openPage adds the settings page to the installation, with the commands of docs/console.md, and signs in with a
// service account's token to see its keys.
func (c *cluster) openPage(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(filepath.Join(folder, "config"),
		os.DirFS(filepath.Join(controlplane.Root(), "config"))); err != nil {
		t.Fatal(err)
	}
	// The cluster has no DNS: the page finds the API server in its hosts file.
	patch := `
patches:
- target: {kind: Deployment, name: apikey-console}
  patch: '[{"op": "add", "path": "/spec/template/spec/hostAliases", "value": [{"ip": "` +
		c.addressOf(t, "default", "kubernetes") + `", "hostnames": ["kubernetes.default.svc"]}]}]'
`
	commands := addsConsole(t)
	released := regexp.MustCompile(`newName: (\S+)\n {2}newTag: (\S+)\n`).FindStringSubmatch(commands)
	if released == nil {
		t.Fatal("docs/console.md names no image of a release")
	}
	// For the node, the image that was built is that release's.
	run(t, "ctr", "--namespace=k8s.io", "images", "tag",
		"docker.io/library/apikey-operator:dev", released[1]+":"+released[2])
	shellIn(t, folder, strings.Replace(commands, "\nEND\n", patch+"END\n", 1))
	rolledOut(t, system, "apikey-console")
	g := NewWithT(t)
	all := c.pods(t, system, "apikey-console")
	g.Expect(all).NotTo(BeEmpty())
	for i := range all {
		g.Expect(all[i].Status.ContainerStatuses[0].RestartCount).To(BeZero(), all[i].Name)
	}

	browser := c.browser(t, c.authority(t))
	var answer *http.Response
	var form string
	g.Eventually(func() (err error) { // The Service answers once kube-proxy knows the pods.
		answer, form, err = visit(t, browser, http.MethodGet, "/", nil)
		return err
	}, nodeTimeout, "200ms").Should(Succeed())
	g.Expect(answer.Request.URL.Path).To(Equal("/login"))
	isSecured(t, answer)
	answer, _, err := visit(t, browser, http.MethodGet, "/api/namespaces/warehouse/stream", nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(answer.StatusCode).To(Equal(http.StatusUnauthorized))

	kubectl(t, "create", "serviceaccount", "--namespace=warehouse", "visitor")
	kubectl(t, "create", "rolebinding", "--namespace=warehouse", "visitor", "--clusterrole=admin",
		"--serviceaccount=warehouse:visitor")
	token := strings.TrimSpace(kubectl(t, "create", "token", "--namespace=warehouse", "visitor", "--duration=1h"))
	nonce := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(form)
	g.Expect(nonce).To(HaveLen(2))
	answer, page, err := visit(t, browser, http.MethodPost, "/login",
		url.Values{"csrf": {nonce[1]}, "namespace": {"warehouse"}, "token": {token}})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(answer.Request.URL.Path).To(Equal("/namespaces/warehouse"))
	g.Expect(strings.Contains(page, "system:serviceaccount:warehouse:visitor")).To(BeTrue(),
		"the page says who has signed in")
	g.Expect(strings.Contains(page, token)).To(BeFalse(), "the page has the token")
	isSecured(t, answer)
	g.Expect(listed(t, browser)).To(ContainElement("storefront"))
	kubectl(t, "delete", "serviceaccount,rolebinding", "--namespace=warehouse", "visitor")
}

// addsConsole returns the documentation's commands that add the page.
func addsConsole(t *testing.T) string {
	t.Helper()
	for _, b := range pages.Read(t, "docs/console.md").Blocks {
		if b.Language == "sh" && strings.Contains(b.Text, "config/components/console") {
			return b.Text
		}
	}
	t.Fatal("docs/console.md does not say how the page is added")
	return ""
}

// browser returns a client that trusts an authority, and finds the page's name at its Service.
func (c *cluster) browser(t *testing.T, trusts string) *http.Client {
	t.Helper()
	address := net.JoinHostPort(c.addressOf(t, system, "apikey-console"), "443")
	authority, err := os.ReadFile(trusts)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport}
}

// visit requests a page, or sends a form, and returns the response and its body.
func visit(t *testing.T, browser *http.Client, method, path string, form url.Values) (answer *http.Response,
	text string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), nodeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "https://"+consoleName+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if answer, err = browser.Do(request); err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	return answer, string(content), err
}

// isSecured checks that a response of the page cannot be cached, framed or read by scripts elsewhere, and that its
// cookies are for no other site.
func isSecured(t *testing.T, answer *http.Response) {
	t.Helper()
	g := NewWithT(t)
	g.Expect(answer.StatusCode).To(Equal(http.StatusOK))
	g.Expect(answer.Header.Get("Cache-Control")).To(Equal("no-store"))
	g.Expect(answer.Header.Get("X-Frame-Options")).To(Equal("DENY"))
	g.Expect(answer.Header.Get("X-Content-Type-Options")).To(Equal("nosniff"))
	g.Expect(answer.Header.Get("Content-Security-Policy")).To(And(
		ContainSubstring("default-src 'none'"), ContainSubstring("script-src 'self';"), ContainSubstring("frame-ancestors "+
			"'none'")))
	for _, cookie := range answer.Cookies() {
		g.Expect(cookie.Secure && cookie.HttpOnly && cookie.SameSite == http.SameSiteStrictMode).To(BeTrue(), cookie.Name)
	}
}

// listed returns the names of the keys that the signed-in user sees.
func listed(t *testing.T, browser *http.Client) (names []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), nodeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"https://"+consoleName+"/api/namespaces/warehouse/stream", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := browser.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := json.NewDecoder(answer.Body)
	for {
		var line struct {
			Type string
			Rows []struct{ Name string }
		}
		if err := lines.Decode(&line); err != nil {
			t.Fatal(err)
		}
		for _, row := range line.Rows {
			names = append(names, row.Name)
		}
		if line.Type == "synced" {
			return names
		}
	}
}
