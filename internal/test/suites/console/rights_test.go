package console_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nexuscommerce/apikey-operator/internal/console"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

const warehouse = "/api/namespaces/warehouse"

// TestPage uses one installation for all users, one after the other.
func TestPage(t *testing.T) {
	b := newTestbed(t)
	install.Kubectl(t, b.ControlPlane, "wait", "--for=condition=Ready", "apikey", "-n", "warehouse", "--all",
		"--timeout=1m")
	server := b.serve(t, nil)
	admin := b.token(t, "warehouse", "admin", "apikey-admin", readsSecrets, "cluster:apikey-view")
	t.Run("nobody", func(t *testing.T) { b.nobody(t, b.newUser(t, server)) })
	t.Run("log-in", func(t *testing.T) { b.logIn(t, admin) })
	t.Run("administrator", func(t *testing.T) {
		u := b.newUser(t, server)
		u.signIn(t, admin, "warehouse", "")
		b.administrator(t, u)
	})
	t.Run("viewer", func(t *testing.T) {
		u := b.newUser(t, server)
		u.signIn(t, b.token(t, "warehouse", "viewer", "apikey-view"), "warehouse", "")
		b.viewer(t, u)
	})
	t.Run("who may make keys and not read Secrets", func(t *testing.T) {
		u := b.newUser(t, server)
		u.signIn(t, b.token(t, "warehouse", "maker", "apikey-admin"), "warehouse", "")
		b.maker(t, u)
	})
	t.Run("another tenant's user", func(t *testing.T) {
		u := b.newUser(t, server)
		u.signIn(t, b.token(t, "sandbox", "admin", "apikey-admin", readsSecrets), "sandbox", "")
		b.stranger(t, u)
	})
	t.Run("header", func(t *testing.T) { b.header(t, admin) })
	t.Run("token that has ended", func(t *testing.T) { b.ended(t, admin) })
}

// nobody requests everything without a session.
func (*testbed) nobody(t *testing.T, u *user) {
	answer, text := u.get(t, "/namespaces/warehouse")
	if answer.Request.URL.Path != "/login" || strings.Contains(text, "storefront") {
		t.Errorf("a page: %s\n%s", answer.Request.URL, text)
	}
	for _, path := range []string{"/stream", "/form", "/keys/storefront"} {
		if answer, text := u.ask(t, http.MethodGet, warehouse+path, "", ""); answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("GET %s: %d %s", path, answer.StatusCode, text)
		}
	}
	for _, path := range []string{"/keys", "/keys/storefront/revoke"} {
		if status, _ := u.post(t, warehouse+path, "{}"); status != http.StatusUnauthorized {
			t.Errorf("POST %s: %d", path, status)
		}
	}
}

// logIn tries texts that are no tokens of the cluster, and then one that is.
func (b *testbed) logIn(t *testing.T, admin string) {
	server := b.serve(t, nil)
	key := b.secret(t, "storefront")
	for given, says := range map[string]string{
		"":                          "Paste the token",
		"not-a-token":               "does not know this token",
		"two words":                 "has a blank in it",
		key:                         "That is an API key",
		admin[:len(admin)-8] + "AA": "does not know this token",
	} {
		u := b.newUser(t, server)
		answer, text := u.signIn(t, given, "warehouse", "")
		if answer.StatusCode < 400 || !strings.Contains(text, says) || given != "" && strings.Contains(text, given) {
			t.Errorf("%.12s: %d, want %q\n%s", given, answer.StatusCode, says, text)
		}
		if answer, _ := u.get(t, "/namespaces/warehouse"); answer.Request.URL.Path != "/login" {
			t.Errorf("%.12s lets in", given)
		}
	}
	u := b.newUser(t, server)
	answer, text := u.signIn(t, " Bearer "+admin+"\n", "", "/namespaces/warehouse/keys/storefront")
	if answer.Request.URL.Path != "/namespaces/warehouse/keys/storefront" ||
		!strings.Contains(text, "system:serviceaccount:warehouse:admin") || strings.Contains(text, admin) {
		t.Errorf("%s\n%s", answer.Request.URL, text)
	}
	u.ask(t, http.MethodPost, "/logout", "application/x-www-form-urlencoded", "csrf="+u.csrf)
	if answer, _ := u.get(t, "/namespaces/warehouse"); answer.Request.URL.Path != "/login" {
		t.Errorf("after the log-out: %s", answer.Request.URL)
	}
}

// secret returns a key's token.
func (b *testbed) secret(t *testing.T, name string) string {
	t.Helper()
	secret := &corev1.Secret{}
	if err := b.Client.Get(t.Context(), client.ObjectKey{Namespace: "warehouse", Name: name}, secret); err != nil {
		t.Fatal(err)
	}
	return string(secret.Data["token"])
}

const stock = `{"name":"stock-sync","displayName":"Stock Sync","scopes":["products:read"],"expiry":"90d",` +
	`"allowedCIDRs":["10.0.0.0/8"],"rotateEvery":"30d","rotateOverlap":"1d"}`

// administrator does everything, and is shown the token once.
func (b *testbed) administrator(t *testing.T, u *user) {
	u.follow(t, "warehouse", func(line *answered) bool {
		if line.Rights != nil &&
			(!line.Rights.List || !line.Rights.Create || !line.Rights.Change || !line.Rights.ReadSecrets) {
			t.Errorf("rights %+v", line.Rights)
		}
		return line.Tenant != nil && line.Tenant.ID == "3714240b-2e06-4c35-8856-ccc1c096323e" && line.Tenant.BaseURL != "" &&
			line.Tenant.Most == 20
	})
	if _, text := u.get(t, "/namespaces"); !strings.Contains(text, "You may not list namespaces") {
		t.Errorf("the choice of a namespace:\n%s", text)
	}
	status, done := u.post(t, warehouse+"/keys", stock)
	if status != http.StatusOK || done.Result == nil {
		t.Fatalf("%d %+v", status, done)
	}
	token := b.secret(t, "stock-sync")
	if r := done.Result; r.Token != token || !strings.Contains(r.Curl, "/api/products") ||
		!strings.Contains(r.Curl, token) || strings.Contains(r.YAML, token) || !strings.Contains(r.YAML, "rotation:") {
		t.Errorf("where: %s, YAML:\n%s", r.Where, r.YAML)
	}
	if status, again := u.post(t, warehouse+"/keys", stock); status != http.StatusConflict || again.Result != nil ||
		again.Fields[0].Field != "name" {
		t.Errorf("the same once more: %d %+v", status, again)
	}
	for _, path := range []string{"/keys/stock-sync", "/form"} {
		if _, text := u.ask(t, http.MethodGet, warehouse+path, "", ""); strings.Contains(text, token) {
			t.Errorf("GET %s shows the token", path)
		}
	}
	for _, change := range []struct{ name, state string }{{"suspend", "Suspended"}, {"resume", "Active"},
		{"rotate", "Active"}, {"revoke", "Revoked"}} {
		status, done := u.post(t, warehouse+"/keys/stock-sync/"+change.name, "{}")
		if status != http.StatusOK || done.Result == nil || done.Result.Row.State != change.state {
			t.Errorf("%s: %d %+v", change.name, status, done)
			continue
		}
		if rotated := change.name == "rotate"; rotated != (done.Result.Token != "") || done.Result.Token == token {
			t.Errorf("%s: the answer has a token: %t", change.name, done.Result.Token != "")
		}
	}
	if status, wrong := u.post(t, warehouse+"/keys",
		`{"name":"A","displayName":"","scopes":[],"expiry":""}`); status != http.StatusUnprocessableEntity ||
		len(wrong.Fields) != 3 {
		t.Errorf("a form not filled in: %d %+v", status, wrong)
	}
	if status, wrong := u.post(t, warehouse+"/keys",
		strings.NewReplacer("stock-sync", "other", `"1d"`,
			`"60d"`).Replace(stock)); status != http.StatusUnprocessableEntity || wrong.Fields[0].Field != "rotateOverlap" {
		t.Errorf("what only the API server knows: %d %+v", status, wrong)
	}
	u.csrf = ""
	if status, forged := u.post(t, warehouse+"/keys/storefront/revoke", "{}"); status != http.StatusForbidden ||
		forged.Reason != "forged" {
		t.Errorf("a change that the page has not asked for: %d %+v", status, forged)
	}
}

// viewer sees the list, and is refused every change by the API server.
func (b *testbed) viewer(t *testing.T, u *user) {
	u.follow(t, "warehouse", func(line *answered) bool {
		if line.Rights != nil && (!line.Rights.List || line.Rights.Create || line.Rights.Change || line.Rights.ReadSecrets) {
			t.Errorf("rights %+v", line.Rights)
		}
		return len(line.Rows) >= 2
	})
	u.follow(t, "warehouse", func(line *answered) bool {
		return line.Tenant != nil && strings.Contains(line.Tenant.Problem, "You may not read tenants")
	})
	for _, path := range []string{"/keys", "/keys/storefront/rotate", "/keys/storefront/suspend",
		"/keys/storefront/revoke"} {
		if status, no := u.post(t, warehouse+path,
			strings.ReplaceAll(stock, "stock-sync",
				"viewers")); status != http.StatusForbidden || !strings.Contains(no.Message, "apikey-admin") {
			t.Errorf("POST %s: %d %+v", path, status, no)
		}
	}
}

// maker may create keys and not read Secrets: the page says where the token is instead of showing it.
func (b *testbed) maker(t *testing.T, u *user) {
	status, done := u.post(t, warehouse+"/keys", strings.ReplaceAll(stock, "stock-sync", "makers"))
	if status != http.StatusOK || done.Result == nil || done.Result.Token != "" || done.Result.Curl != "" ||
		!strings.Contains(done.Result.Where, "Secret warehouse/makers") ||
		!strings.Contains(done.Result.Message, "You may not read Secrets") {
		t.Errorf("%d %+v", status, done)
	}
}

// stranger sees nothing of another tenant's.
func (b *testbed) stranger(t *testing.T, u *user) {
	u.follow(t, "warehouse", func(line *answered) bool {
		if len(line.Rows) > 0 || line.Tenant != nil && line.Tenant.ID != "" {
			t.Errorf("another tenant's: %+v", line)
		}
		return line.Problem != nil && line.Problem.Reason == "forbidden"
	})
	if answer, text := u.ask(t, http.MethodGet, warehouse+"/keys/storefront", "",
		""); answer.StatusCode != http.StatusForbidden {
		t.Errorf("details: %d %s", answer.StatusCode, text)
	}
	if status, _ := u.post(t, warehouse+"/keys/storefront/revoke", "{}"); status != http.StatusForbidden {
		t.Errorf("revoking: %d", status)
	}
	u.follow(t, "sandbox",
		func(line *answered) bool { return len(line.Rows) == 1 && line.Rows[0].Name == "nightly-analytics" })
}

// header checks the page behind an OIDC proxy: each request has the user's token, and the page keeps none.
func (b *testbed) header(t *testing.T, admin string) {
	server := b.serve(t, func(o *console.Options) { o.Header = true })
	u := b.newUser(t, server)
	u.browser.Transport = bearer{admin, u.browser.Transport}
	answer, text := u.get(t, "/namespaces/warehouse")
	if answer.StatusCode != http.StatusOK || !strings.Contains(text, "system:serviceaccount:warehouse:admin") ||
		strings.Contains(text, "Sign out") {
		t.Errorf("%d\n%s", answer.StatusCode, text)
	}
	for _, cookie := range u.browser.Jar.Cookies(answer.Request.URL) {
		if strings.Contains(cookie.Name, "session") {
			t.Errorf("cookie %s", cookie.Name)
		}
	}
	if status, done := u.post(t, warehouse+"/keys/storefront/suspend", "{}"); status != http.StatusOK ||
		done.Result == nil {
		t.Errorf("%d %+v", status, done)
	}
	off := b.newUser(t, b.serve(t, nil))
	off.browser.Transport = bearer{admin, off.browser.Transport}
	if answer, _ := off.get(t, "/namespaces/warehouse"); answer.Request.URL.Path != "/login" {
		t.Errorf("the header counts where it was not asked for: %s", answer.Request.URL)
	}
	const page = "/namespaces/warehouse/keys/storefront"
	if answer, _ := u.get(t, "/login?why=expired&next="+page); answer.Request.URL.Path != page {
		t.Errorf("who is signed in is to sign in at %s", answer.Request.URL)
	}
	u.browser.Transport = bearer{"nobody's", server.Client().Transport}
	for _, path := range []string{"/namespaces/warehouse", "/login"} {
		if answer, text := u.get(t, path); answer.StatusCode != http.StatusUnauthorized ||
			!strings.Contains(text, "The cluster does not know you") {
			t.Errorf("%s with a token that the cluster does not know: %d\n%s", path, answer.StatusCode, text)
		}
	}
}

// bearer adds the Authorization header that a proxy adds.
type bearer struct {
	token string
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// ended checks a session that ends while its page is open: by the clock, and because the cluster no longer knows the
// token.
func (b *testbed) ended(t *testing.T, admin string) {
	var passed atomic.Int64
	server := b.serve(t, func(o *console.Options) {
		o.Now, o.Lifetime = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }, 10*time.Minute
	})
	u := b.newUser(t, server)
	u.signIn(t, admin, "warehouse", "")
	passed.Store(int64(10 * time.Minute))
	if answer, text := u.get(t, "/namespaces/warehouse/keys/storefront"); answer.Request.URL.Path != "/login" ||
		!strings.Contains(text, "Your session has ended") ||
		answer.Request.URL.Query().Get("next") != "/namespaces/warehouse/keys/storefront" {
		t.Errorf("by the clock: %s\n%s", answer.Request.URL, text)
	}
	gone := b.token(t, "warehouse", "leaver", "apikey-admin")
	server = b.serve(t, nil)
	u = b.newUser(t, server)
	u.signIn(t, gone, "warehouse", "")
	if err := b.Client.Delete(context.WithoutCancel(t.Context()),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "warehouse", Name: "leaver"}}); err != nil {
		t.Fatal(err)
	}
	u.follow(t, "warehouse", func(line *answered) bool { return line.Problem != nil && line.Problem.Reason == "session" })
	if status, no := u.post(t, warehouse+"/keys/storefront/revoke", "{}"); status != http.StatusUnauthorized ||
		no.Reason != "session" {
		t.Errorf("%d %+v", status, no)
	}
}
