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

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// service acts as a Service: a new connection goes to one of its endpoints, and open ones stay where they are.
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

// remove does what Kubernetes does with a pod that ends, while the preStop hook waits until every node knows of it.
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

// proxy is a client that acts as proxies do: it keeps a connection open as long as the other side does, and sends one
// request after another on it. It never repeats one.
type proxy struct {
	service *service
	request *http.Request
	asked   *atomic.Int64
	conn    net.Conn
	reader  *bufio.Reader
}

// ask sends one request. After an error, the next request uses another connection.
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

// fleet is an installation whose verifiers are behind the two ports of their Service.
type fleet struct {
	*install.Installation

	http, grpc service
}

// start starts another replica, which gets connections once it is ready.
func (f *fleet) start(t *testing.T) *install.Verifier {
	t.Helper()
	replica := f.StartVerifier(t, install.VerifierOptions{})
	f.http.add(replica.HTTP)
	f.grpc.add(replica.GRPC)
	return replica
}

// stop ends a replica as Kubernetes does: it gets no new connections, and then a signal.
func (f *fleet) stop(t *testing.T, replica *install.Verifier) {
	t.Helper()
	f.http.remove(replica.HTTP)
	f.grpc.remove(replica.GRPC)
	if code := replica.Terminate(timeout); code != 0 {
		t.Errorf("a verifier ends with %d:\n%s", code, replica.Log())
	}
}

// asker is a client that asks again and again.
type asker interface {
	// ask asks once. The error is that of a request that failed.
	ask(ctx context.Context) error
	close()
}

// TestVerifiers replaces all verifiers, one after another, while proxies send requests over connections that they keep,
// by HTTP and by gRPC. No request fails.
func TestVerifiers(t *testing.T) {
	f := &fleet{Installation: install.New(t, install.Options{
		Manifests: []string{"rbac", "verifier/canary.yaml"}, Objects: []client.Object{fixture.Policy("nexuscommerce")},
	})}
	issued, err := fixture.Issue(t.Context(), f.Client)
	if err != nil {
		t.Fatal(err)
	}
	replicas := make([]*install.Verifier, 3)
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
		awaitRequests(t, &overHTTP, &overGRPC)
		f.stop(t, replicas[i])
		awaitRequests(t, &overHTTP, &overGRPC)
		replicas[i] = f.start(t)
	}
	awaitRequests(t, &overHTTP, &overGRPC)
	stop()
	clients.Wait()
	t.Logf("%d requests over HTTP, %d over gRPC", overHTTP.Load(), overGRPC.Load())
}

// question returns what a proxy asks about a request that may pass.
func question(t *testing.T, issued *fixture.Issued) *http.Request {
	t.Helper()
	q := install.Question{Token: issued.Token, TenantID: issued.Tenant.Spec.ID}
	request, err := q.Request(t.Context(), "http://verifier")
	if err != nil {
		t.Fatal(err)
	}
	return request
}

// awaitRequests waits until many more requests have passed, of each kind.
func awaitRequests(t *testing.T, asked ...*atomic.Int64) {
	t.Helper()
	for _, count := range asked {
		goal := count.Load() + 1000
		program.WaitUntil(t, timeout, "requests that pass", func() error {
			if n := count.Load(); n < goal {
				return fmt.Errorf("%d of %d", n, goal)
			}
			return nil
		})
	}
}
