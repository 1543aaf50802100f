package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"

	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/limit"
)

// Options configure a Console.
type Options struct {
	// Config says how to reach the API server. Its credentials are used with Own only.
	Config *rest.Config
	// Own makes the page act with Config's own credentials, for one person on their own machine. It needs Hosts. Only the
	// browser that opens StartPath is let in.
	Own bool
	// Namespace is the one that is shown or suggested first.
	Namespace string
	// Hosts are the accepted values of the Host header; empty accepts all.
	Hosts []string
	// Header takes the user's token from a request's Authorization header, where there is one.
	Header bool
	// Key is what cookies are sealed with: random, at least 32 bytes, and the same for all replicas. If it is nil, New
	// makes one.
	Key []byte
	// Peers returns the addresses of all replicas, as host and port, so that a session that ends at one ends at all. It
	// needs Key. If it is nil, this is the only replica.
	Peers func(ctx context.Context) ([]string, error)
	// PeersInPlainText makes replicas talk to one another without TLS.
	PeersInPlainText bool
	// Lifetime is how long a session lasts; 0 means DefaultLifetime.
	Lifetime time.Duration
	Log      logr.Logger
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// DefaultLifetime is how long a session lasts by default.
const DefaultLifetime = 8 * time.Hour

// apiTimeout bounds a request to the API server, other than a watch.
const apiTimeout = 15 * time.Second

// Console is the handler of the page's URLs.
type Console struct {
	options  Options
	config   *rest.Config
	seal     *sealer
	pages    *pages
	start    *start       // nil without Own
	own      *keys.Client // nil without Own
	signOuts *signOuts
	peers    *peers
	cross    *http.CrossOriginProtection
	routes   http.Handler
	// refreshEvery is the constant of that name, except in tests.
	refreshEvery time.Duration
	// stopped ends the streams, which would otherwise last as long as a page is open.
	stopped context.Context //nolint:containedctx // It outlives every request.
	stop    context.CancelFunc
}

// New returns a console with the given options.
func New(o Options) (*Console, error) {
	if o.Own && len(o.Hosts) == 0 {
		return nil, errors.New("a console with its own credentials has to know its hosts")
	}
	if o.Peers != nil && o.Key == nil {
		return nil, errors.New("replicas that know of one another need the same key for sessions")
	}
	if o.Lifetime == 0 {
		o.Lifetime = DefaultLifetime
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	seal, err := newSealer(o.Key)
	if err != nil {
		return nil, err
	}
	c := &Console{
		options:      o,
		seal:         seal,
		config:       rest.CopyConfig(o.Config),
		cross:        http.NewCrossOriginProtection(),
		refreshEvery: refreshEvery,
	}
	if !o.Own {
		c.config = rest.AnonymousClientConfig(o.Config)
	}
	c.config.QPS = -1 // The API server limits its clients itself.
	c.config.WarningHandler = rest.NoWarnings{}
	if c.pages, err = newPages(); err != nil {
		return nil, err
	}
	if o.Own {
		c.start = newStart()
		if c.own, err = keys.NewPageClient(c.config); err != nil {
			return nil, err
		}
	}
	c.signOuts = newSignOuts(o.Now())
	c.peers = newPeers(&o, seal, c.signOuts)
	c.stopped, c.stop = context.WithCancel(context.Background())
	files, err := newAssets()
	if err != nil {
		return nil, err
	}
	c.routes = c.newRoutes(files)
	return c, nil
}

// newRoutes returns the handler of all URLs.
func (c *Console) newRoutes(files http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /assets/{name}", files)
	if c.options.Own {
		c.ownRoutes(mux)
	} else {
		c.pageRoutes(mux)
	}
	api := func(pattern string, answer func(http.ResponseWriter, *http.Request, *visitor)) {
		mux.HandleFunc(pattern, c.forVisitor(answer, c.turnAwayScript))
	}
	api("GET /api/namespaces/{namespace}/stream", c.stream)
	api("GET /api/namespaces/{namespace}/form", c.showForm)
	api("GET /api/namespaces/{namespace}/keys/{name}", c.showDetails)
	change := func(pattern string, answer func(http.ResponseWriter, *http.Request, *visitor)) {
		mux.HandleFunc(pattern, takes(jsonKind, c.forVisitor(answer, c.turnAwayScript)))
	}
	change("POST /api/namespaces/{namespace}/keys", c.create)
	change("POST /api/namespaces/{namespace}/keys/{name}/{change}", c.change)
	return mux
}

// pageRoutes adds the pages for users who sign in.
func (c *Console) pageRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /login", c.showLogin)
	mux.HandleFunc("POST /login", takes(formKind, c.handleLogin))
	mux.HandleFunc("POST /logout", takes(formKind, c.handleLogout))
	route := func(pattern string, show func(http.ResponseWriter, *http.Request, *visitor)) {
		mux.HandleFunc(pattern, c.forVisitor(show, c.turnAway))
	}
	route("GET /{$}", c.showFirst)
	route("GET /namespaces", c.chooseNamespace)
	route("GET /namespaces/{namespace}", c.showKeys)
	route("GET /namespaces/{namespace}/keys/{name}", c.showKeys)
	route("GET /", c.showNothing)
}

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	if c.options.Peers != nil && r.URL.Path == peersPath { // Under whatever host name.
		c.peers.ServeHTTP(w, r)
		return
	}
	if len(c.options.Hosts) > 0 && !slices.Contains(c.options.Hosts, r.Host) {
		http.Error(w, "This page is not served by that name.", http.StatusMisdirectedRequest)
		return
	}
	if err := c.cross.Check(r); err != nil || fromElsewhere(r) {
		http.Error(w, "This request was sent by another site.", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	c.routes.ServeHTTP(w, r)
}

// KeepUp asks the other replicas which sessions users have signed out of, until the context ends. It calls ready after
// its first attempt.
func (c *Console) KeepUp(ctx context.Context, ready func()) {
	failing := false
	for {
		err := c.peers.pull(ctx)
		if failed := err != nil; failed != failing && ctx.Err() == nil {
			failing = failed
			if failed {
				c.options.Log.Info("Not every replica can be asked who has signed out", "error", err.Error())
			} else {
				c.options.Log.Info("Every replica says who has signed out")
			}
		}
		if ready != nil {
			ready()
			ready = nil
		}
		if c.options.Peers == nil || !sleep(ctx, pullEvery) {
			return
		}
	}
}

// Stop ends all streams.
func (c *Console) Stop() { c.stop() }

// NewServer returns a server of the console. Its Shutdown stops the console too.
func (c *Console) NewServer() *http.Server {
	server := &http.Server{
		Handler:           c,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      answerWithin, // A stream extends it with each line.
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          quiet(c.options.Log),
	}
	Bounds.Apply(server)
	server.RegisterOnShutdown(c.Stop)
	return server
}

// Bounds are the limits of the page's port; docs/threat-model.md adds them up. An open page keeps a connection.
var Bounds = limit.Bounds{
	Connections: 512,
	Rest:        96 << 10,
	Own:         32 << 10,
	Shared:      32 << 20,
	Header:      64 << 10,
	Streams:     100,
	Lasting:     true,
}

// answerWithin bounds how long writing an answer, or one line of a stream, may take.
const answerWithin = 30 * time.Second

// maxBody is the maximum size of a request's body.
const maxBody = 64 << 10

// visitor is the user whose request is answered.
type visitor struct {
	client *keys.Client
	// user is the name by which the API server knows the user; blank if it was not asked yet.
	user string
	// namespace is the one that the user began with.
	namespace string
	// csrf is the value that a request which changes something must have.
	csrf string
	// ends is when the session ends; zero if there is none here.
	ends time.Time
	// session is the user's session; nil if a proxy has signed the user in, or with Own.
	session *session
}

// forVisitor returns a handler for requests that need a user. Other requests are passed to refuse.
func (c *Console) forVisitor(
	handle func(http.ResponseWriter, *http.Request, *visitor), refuse func(http.ResponseWriter, *http.Request, error),
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := c.visitor(w, r)
		if err != nil {
			refuse(w, r, err)
			return
		}
		handle(w, r, v)
	}
}

// clientOf returns a client with the rights of a bearer token.
func (c *Console) clientOf(token string) (*keys.Client, error) {
	if c.options.Own {
		return c.own, nil
	}
	if token == "" {
		return nil, errNobody
	}
	config := rest.CopyConfig(c.config)
	config.BearerToken = token
	return keys.NewPageClient(config)
}

// once is a secret that is good for one use.
type once struct {
	mu    sync.Mutex
	value string
}

// take reports whether a text is the secret, and uses it up.
func (o *once) take(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.value == "" || !sameSecret(o.value, text) {
		return false
	}
	o.value = ""
	return true
}

// errNobody reports that a request is of no known user.
var errNobody = errors.New("nobody is logged in")

// errEnded reports that a session has ended.
var errEnded = fmt.Errorf("%w any more", errNobody)
