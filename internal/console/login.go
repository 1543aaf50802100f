package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// othersPage tells those who have not opened the link of Own. The script says the same (session.js).
const othersPage = "It acts with the rights of whoever started it, and opens only by the link that was printed then, " +
	"which is good once. " +
	"Run kubectl apikey ui again."

// anonymous is the user name that the API server gives to unauthenticated requests.
const anonymous = "system:anonymous"

// loginPage is the content of the log-in page.
type loginPage struct {
	page
	Next, Namespace, Problem string
	// Ended is set if a session has ended.
	Ended bool
	// Field is the field that has the problem: token or namespace.
	Field string
}

// showLogin shows the log-in form. Users whom a proxy has signed in are sent on: a script leads here when a token has
// expired, and by now the proxy sends another.
func (c *Console) showLogin(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if c.proxiedToken(r) != "" {
		http.Redirect(w, r, cmp.Or(ownPath(query.Get("next")), "/"), http.StatusSeeOther) //nolint:gosec // A path of ours.
		return
	}
	c.writeLogin(w, r, http.StatusOK, &loginPage{
		Next: ownPath(query.Get("next")), Namespace: c.options.Namespace, Ended: query.Get("why") == "expired",
	})
}

func (c *Console) writeLogin(w http.ResponseWriter, r *http.Request, status int, p *loginPage) {
	p.page = page{Title: "Sign in", CSRF: c.seal.proof(c.nonce(w, r))}
	c.pages.write(w, status, "login", p)
}

// handleLogin begins a session if the API server accepts the token.
func (c *Console) handleLogin(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "The form can't be read.", http.StatusBadRequest)
		return
	}
	form := &loginPage{
		Next:      ownPath(r.PostForm.Get("next")),
		Namespace: strings.TrimSpace(r.PostForm.Get("namespace")),
		Field:     "token",
	}
	if !sameSecret(c.seal.proof(c.nonce(w, r)), r.PostForm.Get("csrf")) {
		form.Problem = "This form was too old, or your browser keeps no cookies. Try again."
		c.writeLogin(w, r, http.StatusForbidden, form)
		return
	}
	given := tidy(r.PostForm.Get("token"))
	if form.Namespace != "" && len(validation.IsDNS1123Label(form.Namespace)) > 0 {
		form.Field = "namespace"
		form.Problem = "That is no name of a namespace: it has lower-case letters, digits and hyphens, such as warehouse."
		c.writeLogin(w, r, http.StatusUnprocessableEntity, form)
		return
	}
	user, refusal, status := c.identify(r.Context(), given)
	if refusal != "" {
		form.Problem = refusal
		c.writeLogin(w, r, status, form)
		return
	}
	s := &session{Token: given, User: user, Namespace: form.Namespace, Ends: c.options.Now().Add(c.options.Lifetime)}
	if err := c.begin(w, s); err != nil {
		http.Error(w, "The session can't be kept.", http.StatusInternalServerError)
		return
	}
	next := form.Next
	if next == "" {
		next = pathOf(form.Namespace)
	}
	http.Redirect(w, r, next, http.StatusSeeOther) //nolint:gosec // Both are paths of ours.
}

// tidy removes from a pasted token the blanks around it and the name of the scheme.
func tidy(given string) string {
	given = strings.TrimSpace(given)
	if scheme, rest, ok := strings.Cut(given, " "); ok && strings.EqualFold(scheme, "Bearer") {
		given = strings.TrimSpace(rest)
	}
	return given
}

// identify asks the API server for the user of a token, and returns why it is refused otherwise.
func (c *Console) identify(ctx context.Context, given string) (user, refusal string, status int) {
	switch {
	case given == "":
		return "", "Paste the token by which the cluster knows you: kubectl create token NAME makes one for a service " +
			"account.", http.StatusUnprocessableEntity
	case token.WellFormed(given):
		return "", "That is an API key. Here, paste the token by which the Kubernetes cluster knows you.",
			http.StatusUnprocessableEntity
	case !tokenShaped(given):
		return "", "That is no token: it has a blank in it, or is too long.", http.StatusUnprocessableEntity
	}
	client, err := c.clientOf(given)
	if err != nil {
		return "", "That is no token.", http.StatusUnprocessableEntity
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	user, err = client.WhoAmI(ctx)
	switch {
	case apierrors.IsUnauthorized(err) || err == nil && user == anonymous:
		return "", "The cluster does not know this token, or no longer. Get a new one, and paste all of it.",
			http.StatusUnauthorized
	case err != nil:
		return "", explain(err).Message, http.StatusBadGateway
	}
	return user, "", 0
}

func (c *Console) handleLogout(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || !sameSecret(c.seal.proof(c.nonce(w, r)), r.PostForm.Get("csrf")) {
		http.Error(w, "This page is too old: load it again, and sign out.", http.StatusForbidden)
		return
	}
	s, err := c.session(r)
	c.end(w)
	if err != nil {
		http.Redirect(w, r, "/login", http.StatusSeeOther) // It has ended already.
		return
	}
	ended := signOut{ID: s.ID, Until: s.Ends}
	c.signOuts.add(ended, c.options.Now())
	if err := c.peers.tell(r.Context(), ended); err != nil {
		c.options.Log.Info("Not every replica could be told that somebody has signed out", "error", err.Error())
		c.pages.message(w, http.StatusBadGateway, "You are signed out in this browser",
			"Not every replica of this page could be told. A copy of this browser's cookies, if there is one, may work there "+
				"for some seconds more, or as long as that replica reaches none of the others.")
		return
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// ownPath returns a path of this page's, and blank for anything else: the log-in page must not redirect elsewhere.
func ownPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, "/namespaces") ||
		path.Clean(u.Path) != u.Path {
		return ""
	}
	return u.EscapedPath()
}

// pathOf returns the path of a namespace's page, or of the list of namespaces.
func pathOf(namespace string) string {
	if namespace == "" {
		return "/namespaces"
	}
	return "/namespaces/" + url.PathEscape(namespace)
}

// turnAway answers a request for a page by sending the browser to the log-in page.
func (c *Console) turnAway(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case c.options.Own:
		c.pages.message(w, http.StatusForbidden, "This page is somebody else's", othersPage)
	case r.Header.Get("Sec-Fetch-Site") == "cross-site" && !errors.Is(err, errEnded):
		// A link from another site comes without our cookies, which are SameSite=Strict. A request from our own page has
		// them.
		c.again(w, cmp.Or(ownPath(r.URL.EscapedPath()), "/"))
	default:
		query := url.Values{"next": {r.URL.EscapedPath()}}
		if errors.Is(err, errEnded) {
			query.Set("why", "expired")
		}
		http.Redirect(w, r, "/login?"+query.Encode(), http.StatusSeeOther)
	}
}

// again makes the browser request a path from a page of ours. The Referer header is suppressed: it may be the one-time
// link.
func (c *Console) again(w http.ResponseWriter, path string) {
	w.Header().Set("Referrer-Policy", "no-referrer")
	c.pages.write(w, http.StatusOK, "again", &againPage{page: page{Title: "API Keys"}, Path: path})
}
