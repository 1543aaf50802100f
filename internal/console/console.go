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
	// Config is the way to the API server. Its credentials are used with Own only.
	Config *rest.Config
	// Own has everybody act with Config's own credentials: for one person, on their machine. It needs Hosts, and only who
	// opens StartPath gets in.
	Own bool
	// Namespace is shown or suggested first.
	Namespace string
	// Hosts are the values of the Host header that are answered, without any all.
	Hosts []string
	// Header takes the user's token from a request's Authorization header, where there is one.
	Header bool
	// Key is what cookies are sealed with: random, at least 32 bytes, and the same for all replicas. Without one it is made.
	Key []byte
	// Peers returns the addresses of all replicas, as host and port, so that what one has signed out of is known to all. It needs Key.
	// Without it, this is the only one.
	Peers func(ctx context.Context) ([]string, error)
	// PeersInPlainText has replicas speak without TLS, as they are asked.
	PeersInPlainText bool
	// Lifetime is how long a log-in lasts; 0 is DefaultLifetime.
	Lifetime time.Duration
	Log      logr.Logger
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// DefaultLifetime is how long a log-in lasts.
const DefaultLifetime = 8 * time.Hour

// apiTimeout is how long the API server may take for an answer that isn't waited for.
const apiTimeout = 15 * time.Second

// Console answers at the page's URLs.
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
	// refreshEvery is the constant of that name, but for tests.
	refreshEvery time.Duration
	// stopped ends what would go on for as long as somebody looks.
	stopped context.Context //nolint:containedctx // It outlives every request.
	stop    context.CancelFunc
}

// New returns a console.
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
	c := &Console{options: o, seal: seal, config: rest.CopyConfig(o.Config), cross: http.NewCrossOriginProtection(), refreshEvery: refreshEvery}
	if !o.Own {
		c.config = rest.AnonymousClientConfig(o.Config)
	}
	c.config.QPS = -1 // The API server says itself when it is too much.
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

// newRoutes returns what is at which URL.
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

// pageRoutes are the pages of who signs in.
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
	if c.options.Peers != nil && r.URL.Path == peersPath { // By whatever name they call one another.
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

// KeepUp has this replica know what users have signed out of at the others, until the context ends. It returns from its first attempt
// before ready is called.
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

// Stop ends what would go on for as long as somebody looks.
func (c *Console) Stop() { c.stop() }

// NewServer returns a server of the console. Its Shutdown stops the console too.
func (c *Console) NewServer() *http.Server {
	server := &http.Server{
		Handler:           c,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      answerWithin, // A stream puts it off, line by line.
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          quiet(c.options.Log),
	}
	Bounds.Apply(server)
	server.RegisterOnShutdown(c.Stop)
	return server
}

// Bounds are those of the page's port. docs/threat-model.md has what they add up to. A page that is open keeps a connection.
var Bounds = limit.Bounds{
	Connections: 512,
	Rest:        96 << 10,
	Own:         32 << 10,
	Shared:      32 << 20,
	Header:      64 << 10,
	Streams:     100,
	Lasting:     true,
}

// answerWithin is how long an answer, or a line of one, may take to be written.
const answerWithin = 30 * time.Second

// maxBody is how long the body of a request may be.
const maxBody = 64 << 10

// visitor is a request of a user who is known.
type visitor struct {
	client *keys.Client
	// user is the name by which the API server knows the user; blank where nobody has asked yet.
	user string
	// namespace is the one that the user began with.
	namespace string
	// csrf is what a request that changes something must hold.
	csrf string
	// ends is when the log-in ends; zero where that isn't ours to say.
	ends time.Time
	// session is the log-in; nil where that isn't ours.
	session *session
}

// forVisitor returns a handler of what needs a user. Who is none is turned away.
func (c *Console) forVisitor(handle func(http.ResponseWriter, *http.Request, *visitor), away func(http.ResponseWriter, *http.Request, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := c.visitor(w, r)
		if err != nil {
			away(w, r, err)
			return
		}
		handle(w, r, v)
	}
}

// clientOf returns a client with the rights of whoever a token is for.
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

// once makes a value of a secret that is good for one use.
type once struct {
	mu    sync.Mutex
	value string
}

// take says whether a text is the value, which it then no longer is.
func (o *once) take(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.value == "" || !sameSecret(o.value, text) {
		return false
	}
	o.value = ""
	return true
}

// errNobody says that a request is no known user's.
var errNobody = errors.New("nobody is logged in")

// errEnded says that a log-in has ended.
var errEnded = fmt.Errorf("%w any more", errNobody)
