// Package console_test uses the settings page over HTTP as browsers do: its pages and the requests of its scripts,
// against a real API server, as a tenant's administrator, as somebody who may only view, as another tenant's
// administrator, and without a session.
package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/nexuscommerce/apikey-operator/internal/console"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

const timeout = time.Minute

// readsSecrets is a role that a namespace's administrators have among others.
const readsSecrets = "reads-secrets"

// testbed is an installation with two tenants and the page before it.
type testbed struct {
	*install.Installation

	// url is where the page answers.
	url string
}

// user is somebody with a browser.
type user struct {
	*testbed
	browser *http.Client
	// csrf is the token that the page gave for the requests of its scripts.
	csrf string
}

// serve starts the page, over TLS: browsers keep its cookies only then.
func (b *testbed) serve(t *testing.T, change func(*console.Options)) *httptest.Server {
	t.Helper()
	o := console.Options{Config: b.Config}
	if change != nil {
		change(&o)
	}
	page, err := console.New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(page)
	server.Config = page.NewServer()
	server.StartTLS()
	t.Cleanup(server.Close)
	t.Cleanup(page.Stop)
	return server
}

// token creates a service account in a namespace, binds roles to it, there or in the whole cluster, and returns a token
// for it.
func (b *testbed) token(t *testing.T, namespace, name string, roles ...string) string {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := b.Client.Create(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	for _, role := range roles {
		kind, args := "rolebinding", []string{"-n", namespace}
		if rest, everywhere := strings.CutPrefix(role, "cluster:"); everywhere {
			kind, args, role = "clusterrolebinding", nil, rest
		}
		install.Kubectl(t, b.ControlPlane,
			append([]string{"create", kind, namespace + "-" + name + "-" + role, "--clusterrole=" + role,
				"--serviceaccount=" + namespace + ":" + name}, args...)...)
	}
	accounts, err := kubernetes.NewForConfig(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	request, err := accounts.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), name,
		&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// newUser opens a browser.
func (b *testbed) newUser(t *testing.T, server *httptest.Server) *user {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := *server.Client()
	browser.Jar = jar
	return &user{testbed: &testbed{Installation: b.Installation, url: server.URL}, browser: &browser}
}

// ask sends a request, and returns the answer and its body.
func (u *user) ask(t *testing.T, method, path, kind, body string) (answer *http.Response, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, u.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	request.Header.Set("Content-Type", kind)
	request.Header.Set("X-CSRF-Token", u.csrf)
	answer, err = u.browser.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(content)
}

var csrf = regexp.MustCompile(`<meta name="csrf-token" content="([^"]+)">`)

// get opens a page, and remembers what it gives for requests.
func (u *user) get(t *testing.T, path string) (answer *http.Response, text string) {
	t.Helper()
	answer, text = u.ask(t, http.MethodGet, path, "", "")
	if found := csrf.FindStringSubmatch(text); found != nil {
		u.csrf = found[1]
	}
	return answer, text
}

// signIn fills in the log-in form, and returns the page that this leads to.
func (u *user) signIn(t *testing.T, token, namespace, next string) (answer *http.Response, text string) {
	t.Helper()
	u.get(t, "/login")
	form := url.Values{"token": {token}, "namespace": {namespace}, "next": {next}, "csrf": {u.csrf}}
	answer, text = u.ask(t, http.MethodPost, "/login", "application/x-www-form-urlencoded", form.Encode())
	if found := csrf.FindStringSubmatch(text); found != nil {
		u.csrf = found[1]
	}
	return answer, text
}

// answered is an answer to a script. Which fields are set depends on the request.
type answered struct {
	Type, Reason, Message, Name string
	Fields                      []struct{ Field, Message string }
	Problem                     *answered
	Result                      *struct {
		Message, Token, Curl, YAML, Where string
		Row                               struct{ Name, State string }
	}
	Rights *struct{ List, Create, Change, ReadSecrets bool }
	Tenant *struct {
		Name, ID, BaseURL, Problem string
		Active, Most               int
	}
	Rows []struct{ Name, State, Prefix string }
}

// post sends what a script would, and returns the status and the last line of the answer.
func (u *user) post(t *testing.T, path, body string) (status int, last answered) {
	t.Helper()
	answer, text := u.ask(t, http.MethodPost, path, "application/json", body)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatalf("POST %s: %d %s", path, answer.StatusCode, text)
	}
	return answer.StatusCode, last
}

// follow reads the stream of a namespace until wanted returns true for a line.
func (u *user) follow(t *testing.T, namespace string, wanted func(*answered) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.url+"/api/namespaces/"+namespace+"/stream",
		http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := u.browser.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line answered
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if wanted(&line) {
			return
		}
	}
	t.Fatalf("the stream has ended: %v", lines.Err())
}

// newTestbed starts a control plane with the samples, and a controller.
func newTestbed(t *testing.T) *testbed {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	b := &testbed{Installation: install.New(t, install.Options{
		Manifests:  []string{"rbac", "policy", "verifier/canary.yaml"},
		Controller: &install.ControllerOptions{},
	})}
	install.Kubectl(t, b.ControlPlane, "create", "clusterrole", readsSecrets, "--verb=get", "--resource=secrets")
	install.Kubectl(t, b.ControlPlane, "apply", "-k", install.Config("samples"))
	return b
}
