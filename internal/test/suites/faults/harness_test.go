// Package faults breaks the connection between a verifier and the API server, in every way that it can break, and
// checks that no revoked key is accepted beyond the bound, that the verifier recovers without a restart, and that its
// metrics show it.
//
// No controller runs unless a test starts one: revocation, expiry and freshness work without it.
package faults_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const timeout = time.Minute

// newInstallation installs the project with a declared API and without any program.
func newInstallation(t *testing.T) *install.Installation {
	t.Helper()
	return install.New(t, install.Options{
		Manifests: []string{"rbac", "verifier/canary.yaml"}, Objects: []client.Object{fixture.Policy("nexuscommerce")},
	})
}

// subject is a verifier that is polled with two keys: one that stays valid, and one that is revoked.
type subject struct {
	*install.Verifier

	t           *testing.T
	i           *install.Installation
	bound       time.Duration
	stays, goes *caller
}

// watch starts a verifier that reaches the API server by a kubeconfig, and waits until it allows both of its keys.
func watch(t *testing.T, i *install.Installation, kubeconfig string, bound time.Duration) *subject {
	t.Helper()
	s := launch(t, i, kubeconfig, fixture.Name("verifier"), bound)
	s.stays, s.goes = s.call(s.issue()), s.call(s.issue())
	s.await("a verifier that lets both keys pass",
		func() error { return firstError(s.ready(), s.stays.last(200), s.goes.last(200)) })
	return s
}

// launch starts a verifier that is not polled yet.
func launch(t *testing.T, i *install.Installation, kubeconfig, name string, bound time.Duration) *subject {
	t.Helper()
	return &subject{t: t, i: i, bound: bound, Verifier: i.StartVerifier(t, install.VerifierOptions{
		Name: name, Kubeconfig: kubeconfig, Flags: []string{"--max-staleness=" + bound.String()}, NoWait: true,
	})}
}

func (s *subject) issue(change ...func(*keysv1alpha1.ApiKey)) *fixture.Issued {
	s.t.Helper()
	issued, err := fixture.Issue(s.t.Context(), s.i.Client, change...)
	if err != nil {
		s.t.Fatal(err)
	}
	return issued
}

func (s *subject) await(what string, condition func() error) {
	s.t.Helper()
	program.WaitUntil(s.t, timeout, what, condition)
}

// revoke revokes the key that goes, directly at the API server, and returns when that had been committed.
func (s *subject) revoke() time.Time {
	s.t.Helper()
	s.i.Revoke(s.t, s.goes.issued.Key)
	return time.Now()
}

// awaitBound waits until the bound has passed since a time, and the verifier was asked after that.
func (s *subject) awaitBound(since time.Time) {
	s.t.Helper()
	s.await("a request beyond the bound", func() error { return s.goes.askedSince(since.Add(s.bound + time.Second)) })
}

// recovers waits until the verifier knows the state of both keys again, in the same process.
func (s *subject) recovers() {
	s.t.Helper()
	s.await("recovery", func() error { return firstError(s.ready(), s.stays.last(200), s.goes.last(401)) })
	select {
	case <-s.Exited():
		s.t.Error("the verifier has ended")
	default:
	}
}

// ready returns why the verifier is not ready, or why its readiness page does not show the time as of which it is
// fresh.
func (s *subject) ready() error {
	status, body, err := get(s.URL(s.Health, "/readyz"))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, body)
	}
	if err == nil && !strings.Contains(body, "freshAsOf: 2") {
		err = fmt.Errorf("the page does not say as of when: %s", body)
	}
	return err
}

// metric returns a metric's value.
func (s *subject) metric(name string) float64 {
	s.t.Helper()
	status, body, err := get(s.URL(s.Metrics, "/metrics"))
	if err != nil || status != http.StatusOK {
		s.t.Fatal(status, err)
	}
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return value
		}
	}
	s.t.Fatalf("there is no metric %s", name)
	return 0
}

// isStale checks that the verifier allows nothing, and that its readiness page and its metric say why.
func (s *subject) isStale() {
	s.t.Helper()
	s.await("a stale verifier", func() error { return s.stays.last(http.StatusForbidden) })
	if err := s.ready(); err == nil || !strings.Contains(err.Error(), "last known to be up to date") {
		s.t.Errorf("the readiness page says %v", err)
	}
	if got := s.metric("apikey_verifier_staleness_seconds"); got <= s.bound.Seconds() {
		s.t.Errorf("the metric says %g s, which is within the bound", got)
	}
}

// caller polls with one key.
type caller struct {
	url    string
	issued *fixture.Issued
	client *http.Client

	mu      sync.Mutex
	asked   time.Time
	answers []answer
}

// answer has the status of the response to a request, and when the request was sent. Status 0 is no response.
type answer struct {
	sent   time.Time
	status int
}

// call polls with a key until the test ends, without waiting for responses.
func (s *subject) call(issued *fixture.Issued) *caller {
	c := &caller{url: s.URL(s.HTTP, ""), issued: issued, client: &http.Client{Transport: &http.Transport{}}}
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				group.Go(func() { c.ask(ctx) })
			}
		}
	})
	s.t.Cleanup(func() {
		cancel()
		group.Wait()
		c.client.CloseIdleConnections()
	})
	return c
}

func (c *caller) ask(ctx context.Context) {
	question := install.Question{Token: c.issued.Token, TenantID: c.issued.Tenant.Spec.ID}
	request, err := question.Request(ctx, c.url)
	if err != nil {
		panic(err)
	}
	a := answer{sent: time.Now()}
	c.mu.Lock()
	c.asked = a.sent
	c.mu.Unlock()
	if response, err := c.client.Do(request); err == nil {
		a.status = response.StatusCode
		_ = response.Body.Close()
	}
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers = append(c.answers, a)
}

// askedSince returns an error unless a request was sent since a time, answered or not.
func (c *caller) askedSince(since time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked.Before(since) {
		return fmt.Errorf("the last was sent %s before", since.Sub(c.asked))
	}
	return nil
}

// last returns an error unless the latest response has a status.
func (c *caller) last(status int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.answers) == 0 || c.answers[len(c.answers)-1].status != status {
		return fmt.Errorf("no %d last, of %d answers", status, len(c.answers))
	}
	return nil
}

// got returns how many requests that were sent since a time got a status.
func (c *caller) got(status int, since time.Time) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.answers {
		if a.status == status && !a.sent.Before(since) {
			n++
		}
	}
	return n
}

// neverAcceptedSince waits until a request that was sent since a time was refused, and checks that none was allowed. A
// verifier that stood still answers what was sent before that time first.
func (c *caller) neverAcceptedSince(t *testing.T, since time.Time) {
	t.Helper()
	program.WaitUntil(t, timeout, "a refusal beyond the bound", func() error {
		if c.got(http.StatusUnauthorized, since)+c.got(http.StatusForbidden, since) == 0 {
			return errors.New("nobody was refused")
		}
		return nil
	})
	if n := c.got(http.StatusOK, since); n > 0 {
		t.Errorf("accepted %d times beyond the bound", n)
	}
}

// always checks that every request since a time got the same status.
func (c *caller) always(t *testing.T, status int, since time.Time) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.answers {
		if !a.sent.Before(since) && a.status != status {
			t.Errorf("%d, %s after it began", a.status, a.sent.Sub(since))
			return
		}
	}
}

func get(url string) (int, string, error) {
	response, err := http.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
