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

	"github.com/nexuscommerce/apikey-operator/internal/test/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/program"
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

// ask asks once. The error is that of a request that failed.
func (p *proxy) ask(ctx context.Context) error {
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

// TestVerifiers replaces all verifiers, one after the other, while proxies ask over connections that they keep. No request
// fails.
func TestVerifiers(t *testing.T) {
	cp := install.ControlPlane(t, controlplane.Options{}, "rbac", "verifier/canary.yaml")
	if err := cp.Client.Create(t.Context(), fixture.Policy("nexuscommerce")); err != nil {
		t.Fatal(err)
	}
	issued, err := fixture.Issue(t.Context(), cp.Client)
	if err != nil {
		t.Fatal(err)
	}
	binary := program.Build(t, "./cmd/verifier")
	s := &service{}
	started := 0
	start := func() (*program.Process, string) {
		started++
		address, health := program.FreeAddress(t), program.FreeAddress(t)
		p := program.Start(t, binary, "--kubeconfig="+install.Kubeconfig(t, cp, "apikey-verifier"), fmt.Sprintf("--name=verifier-%d", started),
			"--http-bind-address="+address, "--grpc-bind-address="+program.FreeAddress(t), "--insecure-plain-text",
			"--metrics-bind-address=0", "--health-probe-bind-address="+health)
		program.WaitUntil(t, patience, "a ready verifier", program.Answers(t.Context(), "http://"+health+"/readyz"))
		s.add(address)
		return p, address
	}
	type replica struct {
		*program.Process

		address string
	}
	replicas := make([]replica, 3)
	for i := range replicas {
		replicas[i].Process, replicas[i].address = start()
	}

	var asked atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var proxies sync.WaitGroup
	for range 12 {
		proxies.Go(func() {
			p := &proxy{service: s, asked: &asked, request: question(t, issued)}
			defer p.close()
			for ctx.Err() == nil {
				if err := p.ask(t.Context()); err != nil {
					t.Errorf("a request fails: %v", err)
					p.close()
				}
			}
		})
	}
	for i := range replicas {
		more(t, &asked)
		s.remove(replicas[i].address)
		if code := replicas[i].Terminate(patience); code != 0 {
			t.Errorf("a verifier ends with %d:\n%s", code, replicas[i].Log())
		}
		more(t, &asked)
		replicas[i].Process, replicas[i].address = start()
	}
	more(t, &asked)
	stop()
	proxies.Wait()
	t.Logf("%d requests", asked.Load())
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

// more waits until a good many more requests have passed.
func more(t *testing.T, asked *atomic.Int64) {
	t.Helper()
	goal := asked.Load() + 1000
	program.WaitUntil(t, patience, "requests that pass", func() error {
		if n := asked.Load(); n < goal {
			return fmt.Errorf("%d of %d", n, goal)
		}
		return nil
	})
}
