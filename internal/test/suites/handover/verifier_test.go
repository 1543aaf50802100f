package handover_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// service is what a Service does: it has a new connection go to one of its endpoints, and leaves open ones alone.
type service struct {
	mu        sync.Mutex
	endpoints []string
	next      int
}

func (s *service) add(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoints = append(s.endpoints, address)
}

// remove is what Kubernetes does to a pod that is going, while the preStop hook waits for it to be done everywhere.
func (s *service) remove(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoints = slices.DeleteFunc(s.endpoints, func(a string) bool { return a == address })
}

func (s *service) connect(ctx context.Context) (net.Conn, error) {
	s.mu.Lock()
	s.next++
	address := s.endpoints[s.next%len(s.endpoints)]
	s.mu.Unlock()
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// proxy is a client as proxies are: it keeps a connection open as long as the other side does, and asks for one request
// after the other on it. It never asks twice.
type proxy struct {
	service *service
	request *http.Request
	asked   *atomic.Int64
	conn    net.Conn
	reader  *bufio.Reader
}

// ask asks once. After an error, the next question goes over another connection.
func (p *proxy) ask(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.conn == nil {
		conn, err := p.service.connect(ctx)
		if err != nil {
			return fmt.Errorf("connecting: %w", err)
		}
		p.conn, p.reader = conn, bufio.NewReader(conn)
	}
	if err := p.request.Write(p.conn); err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	response, err := http.ReadResponse(p.reader, p.request)
	if err != nil {
		return fmt.Errorf("waiting for an answer: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	p.asked.Add(1)
	if response.Close {
		p.close()
	}
	return nil
}

func (p *proxy) close() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

// replica is a verifier and where it answers.
type replica struct {
	*program.Process

	http, grpc string
}

// fleet are the verifiers of a cluster, behind the two ports of their Service.
type fleet struct {
	cp         *controlplane.ControlPlane
	binary     string
	http, grpc service
	started    int
}

// start starts another replica, which gets connections once it is ready.
func (f *fleet) start(t *testing.T) replica {
	t.Helper()
	f.started++
	r := replica{http: program.FreeAddress(t), grpc: program.FreeAddress(t)}
	health := program.FreeAddress(t)
	r.Process = program.Start(t, f.binary, "--kubeconfig="+install.Kubeconfig(t, f.cp, "apikey-verifier"),
		fmt.Sprintf("--name=verifier-%d", f.started),
		"--http-bind-address="+r.http, "--grpc-bind-address="+r.grpc, "--insecure-plain-text",
		"--metrics-bind-address=0", "--health-probe-bind-address="+health)
	program.WaitUntil(t, patience, "a ready verifier", program.Answers(t.Context(), "http://"+health+"/readyz"))
	f.http.add(r.http)
	f.grpc.add(r.grpc)
	return r
}

// stop has a replica end as Kubernetes does: it gets no new connections, then it is told.
func (f *fleet) stop(t *testing.T, r replica) {
	t.Helper()
	f.http.remove(r.http)
	f.grpc.remove(r.grpc)
	if code := r.Terminate(patience); code != 0 {
		t.Errorf("a verifier ends with %d:\n%s", code, r.Log())
	}
}

// asker is a client that asks again and again.
type asker interface {
	// ask asks once. The error is that of a request that failed.
	ask(ctx context.Context) error
	close()
}

// TestVerifiers replaces all verifiers, one after the other, while proxies ask over connections that they keep, by HTTP
// and by gRPC. No request fails.
func TestVerifiers(t *testing.T) {
	f := &fleet{cp: install.ControlPlane(t, controlplane.Options{}, "rbac", "verifier/canary.yaml"),
		binary: program.Build(t, "./cmd/verifier")}
	if err := f.cp.Client.Create(t.Context(), fixture.Policy("nexuscommerce")); err != nil {
		t.Fatal(err)
	}
	issued, err := fixture.Issue(t.Context(), f.cp.Client)
	if err != nil {
		t.Fatal(err)
	}
	replicas := make([]replica, 3)
	for i := range replicas {
		replicas[i] = f.start(t)
	}

	var overHTTP, overGRPC atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var clients sync.WaitGroup
	for i := range 12 {
		var client asker = &proxy{service: &f.http, asked: &overHTTP, request: question(t, issued)}
		if i%2 == 0 {
			client = newEnvoy(t, &f.grpc, &overGRPC, issued)
		}
		clients.Go(func() {
			defer client.close()
			for ctx.Err() == nil {
				if err := client.ask(t.Context()); err != nil {
					t.Errorf("a request fails: %v", err)
				}
			}
		})
	}
	for i := range replicas {
		more(t, &overHTTP, &overGRPC)
		f.stop(t, replicas[i])
		more(t, &overHTTP, &overGRPC)
		replicas[i] = f.start(t)
	}
	more(t, &overHTTP, &overGRPC)
	stop()
	clients.Wait()
	t.Logf("%d requests over HTTP, %d over gRPC", overHTTP.Load(), overGRPC.Load())
}

// question is what a proxy asks about a request that may pass.
func question(t *testing.T, issued *fixture.Issued) *http.Request {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, "http://verifier/auth/nginx", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Original-URL", "https://"+fixture.Host+"/api/products")
	request.Header.Set("X-Original-Method", http.MethodGet)
	request.Header.Set("X-Tenant-ID", issued.Tenant.Spec.ID)
	request.Header.Set("Authorization", "Bearer "+issued.Token)
	return request
}

// more waits until a good many more requests have passed, of each kind.
func more(t *testing.T, asked ...*atomic.Int64) {
	t.Helper()
	for _, count := range asked {
		goal := count.Load() + 1000
		program.WaitUntil(t, patience, "requests that pass", func() error {
			if n := count.Load(); n < goal {
				return fmt.Errorf("%d of %d", n, goal)
			}
			return nil
		})
	}
}
