package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"syscall"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/utils/clock"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	verifierclock "github.com/nexuscommerce/apikey-operator/internal/clock"
	"github.com/nexuscommerce/apikey-operator/internal/decide"
	"github.com/nexuscommerce/apikey-operator/internal/gctuning"
	"github.com/nexuscommerce/apikey-operator/internal/kubeauth"
	"github.com/nexuscommerce/apikey-operator/internal/serving"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// serveArgument makes this command a server to be measured: "serve verifier KEYS", "serve none", or
// "serve none identity".
const serveArgument = "serve"

// served has the addresses of a server.
type served struct{ HTTP, GRPC string }

// serveHere runs a server until the process is asked to stop. It prints its addresses once it answers.
func serveHere(args []string) int {
	if err := serve(args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serve(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	start := func() (served, error) { return nothing(len(args) > 1 && args[1] == "identity") }
	if args[0] == "verifier" {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		start = func() (served, error) { return verifier(n) }
	}
	where, err := start()
	if err != nil {
		return err
	}
	if dir := os.Getenv("BENCH_PROFILE"); dir != "" {
		profile, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", args[0], os.Getpid())))
		if err != nil {
			return err
		}
		defer func() { _ = profile.Close() }()
		if err := pprof.StartCPUProfile(profile); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if err := json.NewEncoder(os.Stdout).Encode(where); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// alwaysFresh is the freshness of an index that is up to date.
type alwaysFresh struct{}

func (alwaysFresh) Freshness(time.Time) verify.Freshness { return verify.Fresh }
func (alwaysFresh) FreshAsOf() time.Time                 { return time.Now() }

// verifier serves like a verifier with a number of keys in its index.
func verifier(n int) (served, error) {
	gctuning.Relax()
	view, uses, err := filledView(n)
	if err != nil {
		return served{}, err
	}
	trust, err := clientip.NewTrust([]string{"127.0.0.0/8"})
	if err != nil {
		return served{}, err
	}
	decider := decide.New(decide.Options{
		View: view, Source: alwaysFresh{}, Clock: verifierclock.New(time.Now).Now, Registry: prometheus.NewRegistry(),
		Uses: uses,
	})
	servers, err := serving.New(serving.Options{
		HTTPAddress: "127.0.0.1:0", GRPCAddress: "127.0.0.1:0", Credentials: insecure.NewCredentials(), Ready: func() error {
			return nil
		},
		Registry: prometheus.NewRegistry(),
		RouteOptions: serving.RouteOptions{
			Decider: decider,
			Guard:   kubeauth.New(kubeauth.Options{Clock: clock.RealClock{}}), // Nobody calls it.
			Trust:   trust,
		},
	})
	if err != nil {
		return served{}, err
	}
	for _, s := range servers {
		go func() { fmt.Fprintln(os.Stderr, s.Serve()) }()
	}
	return served{HTTP: servers[0].Address(), GRPC: servers[1].Address()}, nil
}

// nothing serves the baseline: net/http, which answers 200 with the headers of a verifier's 200, and grpc-go with its
// own codec, which answers OK. With identity the latter answers with those headers too.
func nothing(identity bool) (served, error) {
	var listeners [2]net.Listener
	for i := range listeners {
		var err error
		if listeners[i], err = serving.Listen("address", "127.0.0.1:0"); err != nil {
			return served{}, err
		}
	}
	cacheControl, id, name, scopes, tenant := []string{"no-store"}, []string{"7Hk2PqZx"},
		[]string{"tenant-000000/key-000000"},
		[]string{"products:read products:write orders:read"}, []string{"3714240b-2e06-4c35-8856-ccc1c096323e"}
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		header := w.Header()
		header["Cache-Control"], header["X-Api-Key-Id"], header["X-Api-Key-Name"] = cacheControl, id, name
		header["X-Api-Key-Scopes"], header["X-Api-Key-Tenant"] = scopes, tenant
		w.WriteHeader(http.StatusOK)
	})
	// It has the verifier's server and timeouts, so that only the handler differs. The garbage collector has Go's
	// defaults.
	overHTTP := serving.NewHTTP(listeners[0], handler, nil)
	go func() { fmt.Fprintln(os.Stderr, overHTTP.Serve()) }()
	overGRPC := grpc.NewServer()
	ok := &authv3.OkHttpResponse{}
	if identity {
		for header, values := range map[string][]string{
			"x-api-key-id": id, "x-api-key-name": name, "x-api-key-scopes": scopes, "x-api-key-tenant": tenant,
		} {
			ok.Headers = append(ok.Headers, &corev3.HeaderValueOption{
				Header:       &corev3.HeaderValue{Key: header, Value: values[0]},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			})
		}
		ok.HeadersToRemove = []string{"authorization"}
	}
	authv3.RegisterAuthorizationServer(overGRPC, constant{ok: ok})
	go func() { fmt.Fprintln(os.Stderr, overGRPC.Serve(listeners[1])) }()
	return served{HTTP: listeners[0].Addr().String(), GRPC: listeners[1].Addr().String()}, nil
}

// constant allows every request.
type constant struct {
	ok *authv3.OkHttpResponse
	authv3.UnimplementedAuthorizationServer
}

func (c constant) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{
		Status:       &rpcstatus.Status{},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: c.ok},
	}, nil
}
