package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/klog/v2"

	"github.com/nexuscommerce/apikey-operator/internal/console"
	"github.com/nexuscommerce/apikey-operator/internal/httpserver"
	"github.com/nexuscommerce/apikey-operator/internal/limit"
)

// ui has the flags of the command.
type ui struct {
	port        int
	noBrowser   bool
	idleTimeout time.Duration
}

func newUI(s *invocation) *cobra.Command {
	f := &ui{}
	cmd := &cobra.Command{
		Use:   "ui",
		Short: "Open the settings page in the browser, with your own rights",
		Long: `Serve the settings page at an address that only this machine reaches, and open it in the browser. It is
the page that the console serves in a cluster, with the rights of your kubeconfig: there is nothing to sign in to.

It is opened by a link that works once, and only the browser that came by it gets in: not other accounts of this
machine, and not what they serve at other ports. Neither the link nor a token is in the list of processes: the
browser is given a file that only you can read. Where that does not show the page, or with --no-browser, open the
link that is printed.

It ends on Ctrl-C, and by itself once no browser has had the page open for --idle-timeout.`,
		Example: `kubectl apikey ui -n warehouse
kubectl apikey ui --port 8123 --no-browser`,
		Args: argCount(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), s) },
	}
	cmd.Flags().IntVar(&f.port, "port", 0, "Port on 127.0.0.1; 0 is one that is free.")
	cmd.Flags().BoolVar(&f.noBrowser, "no-browser", false, "Print the link, and leave it to you to open it.")
	cmd.Flags().DurationVar(&f.idleTimeout, "idle-timeout", 15*time.Minute,
		"How long to go on when no page is open; 0 is without end.")
	_ = cmd.RegisterFlagCompletionFunc("port", cobra.NoFileCompletions)
	return cmd
}

func (f *ui) run(ctx context.Context, s *invocation) error {
	if f.port < 0 || f.port > 65535 {
		return usagef("--port must be from 0 to 65535")
	}
	if s.showsBodies() {
		return usagef("with -v=8 and more, the log would show the tokens that the page shows: leave one of the two out")
	}
	namespace, err := s.namespace()
	if err != nil {
		return err
	}
	config, err := s.restConfig()
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(f.port)))
	if err != nil {
		return fmt.Errorf("listening on 127.0.0.1: %w; --port names another port, 0 one that is free", err)
	}
	address := listener.Addr().String()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	page, err := console.New(console.Options{
		Config: config, Own: true, Namespace: namespace, Hosts: []string{address, "localhost:" + port},
		Log: klog.Background().V(1), // Messages would hide the link on the terminal.
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	return f.serve(ctx, s, page, listener)
}

// serve serves until the context ends, or nobody has had the page open for a while.
func (f *ui) serve(ctx context.Context, s *invocation, page *console.Console, listener net.Listener) error {
	start := page.StartPath()
	link := "http://" + listener.Addr().String() + start
	browser := &launcher{}
	defer browser.close()
	server := page.NewServer()
	// Other accounts of the machine can send requests too: only those with the link or its session count.
	idle := newIdleTimer(server.Handler, f.idleTimeout, page.LetsIn, func(path string) {
		if path == start {
			browser.close()
		}
	})
	server.Handler = idle
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- httpserver.Serve(serving, server, limit.New(listener, console.Bounds), 5*time.Second) }()

	if !f.noBrowser {
		if err := browser.open(ctx, link); err != nil {
			s.say("No browser was opened: %v", err)
		}
	}
	s.say("The settings page is served to whoever opens this link first, until you press Ctrl-C:")
	fmt.Fprintln(s.Out, link)

	var err error
	select {
	case err = <-ended:
	case <-idle.over:
		s.say("No page was open for %s: good-bye.", f.idleTimeout)
		stop()
		err = <-ended
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // A page is still open. It has not noticed that this has ended.
	}
	return err
}

// idleTimer ends when no page was open for a while. An open page always has a request: the stream of its list.
type idleTimer struct {
	next http.Handler
	// counts reports whether a request comes from the page. seen is called with the path of every request.
	counts func(*http.Request) bool
	seen   func(path string)
	// over is closed at the end; never if the limit is 0.
	over  chan struct{}
	mu    sync.Mutex
	now   int
	limit time.Duration
	timer *time.Timer
}

// newIdleTimer returns a timer around a handler.
func newIdleTimer(
	next http.Handler, limit time.Duration, counts func(*http.Request) bool, seen func(path string),
) *idleTimer {
	i := &idleTimer{next: next, counts: counts, seen: seen, over: make(chan struct{}), limit: limit}
	if limit > 0 {
		i.timer = time.AfterFunc(limit, sync.OnceFunc(func() { close(i.over) }))
	}
	return i
}

// ServeHTTP implements http.Handler.
func (i *idleTimer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if i.counts(r) {
		i.count(1)
		defer i.count(-1)
	}
	i.seen(r.URL.Path)
	i.next.ServeHTTP(w, r)
}

// count adds to the number of requests, and starts or stops the timer.
func (i *idleTimer) count(delta int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.now += delta
	switch {
	case i.timer == nil:
	case i.now == 0:
		i.timer.Reset(i.limit)
	default:
		i.timer.Stop()
	}
}
