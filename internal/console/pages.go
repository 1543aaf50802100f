package console

import (
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"html/template"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/nexuscommerce/apikey-operator/internal/keys"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed assets/*
var assetFiles embed.FS

// page is the content that every page has.
type page struct {
	Title string
	// CSRF is the value that forms and scripts send back.
	CSRF string
	// User is blank if nobody is signed in.
	User string
	// Out is set if the user can sign out.
	Out bool
	// Own is set for pages of Own, whose scripts ask for what they show.
	Own bool
}

// keysPage is the list of a namespace's keys. Scripts fill it.
type keysPage struct {
	page
	Namespace string
	// Key is the key whose details are open.
	Key    string
	States []string
}

// namespacesPage lists the namespaces to choose from.
type namespacesPage struct {
	page
	Known   []knownNamespace
	Problem string
}

// knownNamespace is a namespace that belongs to a tenant.
type knownNamespace struct {
	Name   string `json:"name"`
	Tenant string `json:"tenant"`
	Path   string `json:"path"`
}

// messagePage says why there is nothing to show, and what to do.
type messagePage struct {
	page
	Message string
}

// againPage makes the browser request a path.
type againPage struct {
	page
	Path string
}

// pages are the templates.
type pages struct{ all *template.Template }

func newPages() (*pages, error) {
	all, err := template.ParseFS(pageFiles, "pages/*.html")
	return &pages{all}, err
}

// write answers with a page.
func (p *pages) write(w http.ResponseWriter, status int, name string, content any) {
	var buffer bytes.Buffer
	if err := p.all.ExecuteTemplate(&buffer, name+".html", content); err != nil {
		http.Error(w, "The page can't be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(buffer.Len()))
	w.WriteHeader(status)
	_, _ = buffer.WriteTo(w) // A browser that has gone away is no fault.
}

// message answers with a page that has only a message.
func (p *pages) message(w http.ResponseWriter, status int, title, message string) {
	p.write(w, status, "message", &messagePage{page: page{Title: title}, Message: message})
}

// asset is a static file, plain and compressed. It has no secrets that its compressed size could give away.
type asset struct {
	kind         string
	plain, small []byte
}

func newAsset(name string) (*asset, error) {
	content, err := assetFiles.ReadFile(path.Join("assets", name))
	if err != nil {
		return nil, err
	}
	var small bytes.Buffer
	compressor, err := gzip.NewWriterLevel(&small, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	_, err = compressor.Write(content)
	err = errors.Join(err, compressor.Close())
	return &asset{mime.TypeByExtension(path.Ext(name)), content, small.Bytes()}, err
}

// newAssets returns a handler that answers with styles, scripts and the icon.
func newAssets() (http.Handler, error) {
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		return nil, err
	}
	all := map[string]*asset{}
	for _, entry := range entries {
		if all[entry.Name()], err = newAsset(entry.Name()); err != nil {
			return nil, err
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file := all[r.PathValue("name")]
		if file == nil {
			http.NotFound(w, r)
			return
		}
		content := file.plain
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			content = file.small
			w.Header().Set("Content-Encoding", "gzip")
		}
		w.Header().Set("Content-Type", file.kind)
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content) // A browser that has gone away is no fault.
	}), nil
}

// newPage returns the content that each page of a user has.
func (c *Console) newPage(r *http.Request, v *visitor, title string) (page, error) {
	p := page{Title: title, CSRF: v.csrf, User: v.user, Out: !v.ends.IsZero()}
	if p.User != "" {
		return p, nil
	}
	ctx, cancel := withAPITimeout(r)
	defer cancel()
	user, err := v.client.WhoAmI(ctx)
	if err == nil && user == anonymous {
		err = errNobody
	}
	p.User = user
	return p, err
}

// showFirst redirects to the namespace that the user signed in with.
func (c *Console) showFirst(w http.ResponseWriter, r *http.Request, v *visitor) {
	http.Redirect(w, r, pathOf(v.namespace), http.StatusSeeOther)
}

func (c *Console) showKeys(w http.ResponseWriter, r *http.Request, v *visitor) {
	p, err := c.newPage(r, v, "API Keys")
	if c.failed(w, r, err) {
		return
	}
	c.pages.write(w, http.StatusOK, "keys", &keysPage{
		page: p, Namespace: r.PathValue("namespace"), Key: r.PathValue("name"), States: keys.States(),
	})
}

func (c *Console) showNothing(w http.ResponseWriter, _ *http.Request, _ *visitor) {
	c.pages.message(w, http.StatusNotFound, "There is no such page",
		"Keys are at /namespaces/ and the name of their namespace.")
}

// chooseNamespace shows the namespaces that belong to tenants, as far as the user may see them, and a field for
// another.
func (c *Console) chooseNamespace(w http.ResponseWriter, r *http.Request, v *visitor) {
	if name := r.URL.Query().Get("namespace"); name != "" {
		http.Redirect(w, r, pathOf(name), http.StatusSeeOther) //nolint:gosec // A path of ours.
		return
	}
	p, err := c.newPage(r, v, "Choose a namespace")
	if c.failed(w, r, err) {
		return
	}
	ctx, cancel := withAPITimeout(r)
	defer cancel()
	content := &namespacesPage{page: p}
	content.Known, content.Problem = c.knownNamespaces(ctx, v)
	c.pages.write(w, http.StatusOK, "namespaces", content)
}

// unlisted says why there is no list to choose from, blank if there is one.
func unlisted(err error) string {
	switch {
	case err == nil:
		return ""
	case explain(err).Reason == reasonForbidden:
		return "You may not list namespaces and tenants, so name the one that your keys are in."
	}
	return explain(err).Message
}

// failed answers with a page that says what is wrong, and reports whether something is.
func (c *Console) failed(w http.ResponseWriter, r *http.Request, err error) bool {
	if err == nil {
		return false
	}
	p := explain(err)
	switch {
	case p.Reason == reasonSession && c.proxiedToken(r) != "": // The proxy's token would win over the form's.
		c.pages.message(w, http.StatusUnauthorized, "The cluster does not know you",
			"The token that you were signed in with has ended, or the cluster does not trust whoever issued it. Sign out and "+
				"in again; if that doesn't help, tell whoever runs the cluster.")
	case p.Reason == reasonSession:
		c.end(w)
		c.turnAway(w, r, errEnded)
	default:
		c.pages.message(w, p.status(), "The keys can't be shown", p.Message+" Then load this page again.")
	}
	return true
}
