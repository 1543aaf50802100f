package console

import (
	"context"
	"crypto/rand"
	"net/http"

	"github.com/nexuscommerce/apikey-operator/internal/keys"
)

// The page of Own is served on 127.0.0.1, where other accounts of the machine have their own ports. Browsers send the
// cookies of one port to every other, so it has no cookie. Instead, one tab of the browser has a secret: the answer to
// the one-time link gives it to our own script, which keeps it in the tab's session storage, of this port alone, and
// sends it in a header with each request for data. The pages themselves hold no data, and are the same for everybody.

// ownHeader is the header with that secret. No page of another origin can send it.
const ownHeader = "X-Apikey-Session"

// start has the secrets that let the user of Own in: a one-time link, and the session that it leads to.
type start struct {
	link    once
	session string
}

func newStart() *start { return &start{link: once{value: rand.Text()}, session: rand.Text()} }

// StartPath returns the path of the one-time link of Own.
func (c *Console) StartPath() string { return "/start/" + c.start.link.value }

// LetsIn reports whether a request comes from the tab of the user of Own.
func (c *Console) LetsIn(r *http.Request) bool {
	return sameSecret(r.Header.Get(ownHeader), c.start.session)
}

// startPage gives the session's secret to the script of its tab.
type startPage struct {
	page
	Session, Path string
}

// handleStart lets the user of Own in. A browser that only prefetches doesn't use up the link.
func (c *Console) handleStart(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || r.Header.Get("Sec-Purpose") != "" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if !c.start.link.take(r.PathValue("secret")) {
		c.turnAway(w, r, errNobody)
		return
	}
	// The Referer header of the next request would be the link.
	w.Header().Set("Referrer-Policy", "no-referrer")
	c.pages.write(w, http.StatusOK, "start",
		&startPage{page: page{Title: "API Keys"}, Session: c.start.session, Path: pathOf(c.options.Namespace)})
}

// ownRoutes adds the pages of Own, which hold no data, and the URLs that their scripts ask for data.
func (c *Console) ownRoutes(mux *http.ServeMux) {
	shell := func(pattern, name string, content func(*http.Request) any) {
		mux.HandleFunc(pattern,
			func(w http.ResponseWriter, r *http.Request) { c.pages.write(w, http.StatusOK, name, content(r)) })
	}
	showKeys := func(r *http.Request) any {
		return &keysPage{
			page:      ownPage("API Keys"),
			Namespace: r.PathValue("namespace"),
			Key:       r.PathValue("name"),
			States:    keys.States(),
		}
	}
	mux.HandleFunc("GET /start/{secret}", c.handleStart)
	mux.HandleFunc("GET /{$}",
		func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/namespaces", http.StatusSeeOther) })
	shell("GET /namespaces/{namespace}", "keys", showKeys)
	shell("GET /namespaces/{namespace}/keys/{name}", "keys", showKeys)
	mux.HandleFunc("GET /namespaces", func(w http.ResponseWriter, r *http.Request) {
		if name := r.URL.Query().Get("namespace"); name != "" {
			http.Redirect(w, r, pathOf(name), http.StatusSeeOther) //nolint:gosec // A path of ours.
			return
		}
		c.pages.write(w, http.StatusOK, "namespaces", &namespacesPage{page: ownPage("Choose a namespace")})
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { c.showNothing(w, r, nil) })
	mux.HandleFunc("GET /api/user", c.forVisitor(c.tellUser, c.turnAwayScript))
	mux.HandleFunc("GET /api/namespaces", c.forVisitor(c.tellNamespaces, c.turnAwayScript))
}

func ownPage(title string) page { return page{Title: title, Own: true} }

// tellUser answers a script of Own with the user's name.
func (c *Console) tellUser(w http.ResponseWriter, r *http.Request, v *visitor) {
	ctx, cancel := withAPITimeout(r)
	defer cancel()
	user, err := v.client.WhoAmI(ctx)
	if err == nil && user == anonymous {
		err = errNobody
	}
	if err != nil {
		c.answerProblem(w, err)
		return
	}
	answerJSON(w, http.StatusOK, map[string]string{"user": user})
}

// tellNamespaces answers a script of Own with the namespaces to choose from.
func (c *Console) tellNamespaces(w http.ResponseWriter, r *http.Request, v *visitor) {
	ctx, cancel := withAPITimeout(r)
	defer cancel()
	known, why := c.knownNamespaces(ctx, v)
	answerJSON(w, http.StatusOK, struct {
		Known   []knownNamespace `json:"known"`
		Problem string           `json:"problem,omitempty"`
	}{known, why})
}

// knownNamespaces returns the namespaces that belong to tenants, as far as the user may see them, or why there are
// none.
func (c *Console) knownNamespaces(ctx context.Context, v *visitor) (known []knownNamespace, why string) {
	tenants, err := v.client.Tenants(ctx)
	if err != nil {
		return nil, unlisted(err)
	}
	namespaces, err := v.client.Namespaces(ctx)
	for i := range namespaces {
		if tenant, err := keys.TenantOf(namespaces[i].Name, namespaces[i].Labels, tenants); err == nil {
			known = append(known, knownNamespace{namespaces[i].Name, nameOf(tenant), pathOf(namespaces[i].Name)})
		}
	}
	return known, unlisted(err)
}
