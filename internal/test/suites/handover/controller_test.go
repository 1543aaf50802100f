// Package handover replaces replicas: controllers by the election of a leader, verifiers under load.
package handover_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/apiproxy"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const (
	timeout = 2 * time.Minute

	// onShutdown and onCrash are the times that the documentation promises until another controller works.
	onShutdown = 5 * time.Second
	onCrash    = 20 * time.Second
)

// election is an installation with controllers that want to lead.
type election struct {
	*install.Installation

	namespace string
	count     int
	secrets   tally
}

// tally counts the Secrets that were created and deleted.
type tally struct{ created, deleted atomic.Int64 }

// follow counts what a watch shows.
func (c *tally) follow(events <-chan watch.Event) {
	for event := range events {
		switch event.Type {
		case watch.Added:
			c.created.Add(1)
		case watch.Deleted:
			c.deleted.Add(1)
		}
	}
}

// candidate is one of the controllers.
type candidate struct {
	*install.Controller

	proxy *apiproxy.Proxy

	mu     sync.Mutex
	writes []write
}

type write struct {
	at   time.Time
	what string
}

func newElection(t *testing.T) *election {
	t.Helper()
	e := &election{Installation: install.New(t, install.Options{
		Manifests: []string{"rbac"}, Objects: []client.Object{fixture.Policy("nexuscommerce")},
	})}
	_, namespace := e.NewTenant(t, func(tenant *keysv1alpha1.Tenant) { tenant.Spec.MaxKeys = new(int32(500)) })
	e.namespace = namespace.Name
	secrets, err := e.Client.Watch(t.Context(), &corev1.SecretList{}, client.InNamespace(e.namespace))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(secrets.Stop)
	go e.secrets.follow(secrets.ResultChan())
	return e
}

// startCandidate starts another controller, and waits until it leads or stands by.
func (e *election) startCandidate(t *testing.T) *candidate {
	t.Helper()
	c := &candidate{}
	c.proxy = apiproxy.New(t, e.ServiceAccountConfig("apikey-controller"), func(r *http.Request) apiproxy.Interference {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.writes = append(c.writes, write{time.Now(), r.Method + " " + r.URL.Path})
		return apiproxy.Interference{}
	})
	c.Controller = e.StartController(t, install.ControllerOptions{Kubeconfig: c.proxy.Kubeconfig(t), LeaderElection: true})
	program.WaitUntil(t, timeout, "a controller that stands for election", func() error {
		if !strings.Contains(c.Log(), "acquire leader lease") {
			return errors.New(c.Log())
		}
		return program.Answers(t.Context(), "http://"+c.Health+"/readyz")()
	})
	return c
}

// createKey creates a key, and returns its name.
func (e *election) createKey(t *testing.T) string {
	t.Helper()
	e.count++
	key := fixture.ApiKey(e.namespace, fmt.Sprintf("key-%d", e.count))
	e.Create(t, key)
	return key.Name
}

// issued waits until a key is Ready.
func (e *election) issued(t *testing.T, name string) {
	t.Helper()
	e.Await(t, fixture.ApiKey(e.namespace, name), keysv1alpha1.ConditionReady)
}

// within fails if more time has passed than is promised.
func within(t *testing.T, began time.Time, promise time.Duration) {
	t.Helper()
	took := time.Since(began)
	t.Logf("another controller has issued a key after %s", took.Round(time.Millisecond))
	if took > promise {
		t.Errorf("that is more than %s", promise)
	}
}

// TestControllers ends one leader after the other: by a signal, by kill -9, and by cutting it off from its lease alone.
func TestControllers(t *testing.T) {
	e := newElection(t)
	first := e.startCandidate(t)
	e.issued(t, e.createKey(t))
	second := e.startCandidate(t)

	began := time.Now()
	if code := first.Terminate(timeout); code != 0 {
		t.Errorf("told to stop, the leader ends with %d", code)
	}
	e.issued(t, e.createKey(t))
	within(t, began, onShutdown)

	third := e.startCandidate(t)
	began = time.Now()
	second.Kill()
	e.issued(t, e.createKey(t))
	within(t, began, onCrash)

	// There is always work, and the leader could do it: it only can't reach its lease.
	e.startCandidate(t)
	began = time.Now()
	third.proxy.CutLeases()
	work := time.NewTicker(100 * time.Millisecond)
	defer work.Stop()
	for running := true; running; {
		select {
		case <-third.Exited():
			running = false
		case <-work.C:
			e.createKey(t)
		case <-time.After(timeout):
			t.Fatal("the controller that was cut off from its lease runs on")
		}
	}
	if log := third.Log(); third.ExitCode() == 0 || !strings.Contains(log, "apikey-controller: leader election lost") {
		t.Errorf("it ends with %d:\n%s", third.ExitCode(), log)
	}
	e.issued(t, e.createKey(t))
	within(t, began, onCrash)
	e.check(t, third)
}

// check checks that the deposed leader wrote nothing after another was elected, and that nothing was done twice.
func (e *election) check(t *testing.T, deposed *candidate) {
	t.Helper()
	lease := &coordinationv1.Lease{}
	lease.Namespace, lease.Name = controlplane.SystemNamespace, "apikey-controller"
	e.Get(t, lease)
	deposed.mu.Lock()
	if len(deposed.writes) == 0 {
		t.Error("the deposed leader has written nothing, ever")
	} else if last := deposed.writes[len(deposed.writes)-1]; !last.at.Before(lease.Spec.AcquireTime.Time) {
		t.Errorf("the deposed leader writes (%s) at %s, and another was elected at %s", last.what, last.at,
			lease.Spec.AcquireTime)
	}
	deposed.mu.Unlock()
	for i := range e.count {
		e.issued(t, fmt.Sprintf("key-%d", i+1))
	}
	var keys keysv1alpha1.ApiKeyList
	if err := e.Client.List(t.Context(), &keys, client.InNamespace(e.namespace)); err != nil {
		t.Fatal(err)
	}
	for i := range keys.Items {
		if credentials := keys.Items[i].Status.Credentials; len(credentials) != 1 {
			t.Errorf("%s has %d credentials", keys.Items[i].Name, len(credentials))
		}
	}
	// The API server's count is authoritative: a leader that is cut off may have requested a Secret that another one
	// then creates.
	program.WaitUntil(t, timeout, "a Secret of each key", func() error {
		if there := e.secrets.created.Load() - e.secrets.deleted.Load(); there != int64(e.count) {
			return fmt.Errorf("%d Secrets of %d keys", there, e.count)
		}
		return nil
	})
	if deleted := e.secrets.deleted.Load(); deleted > 0 {
		t.Errorf("%d Secrets were deleted, and made again", deleted)
	}
}
