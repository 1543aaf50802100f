package gitops_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// environment is where one state is brought about: a tenant with a namespace of its own.
type environment struct {
	*install.Installation

	t         *testing.T
	tenant    *keysv1alpha1.Tenant
	namespace *corev1.Namespace
}

func newEnvironment(t *testing.T, i *install.Installation) *environment {
	name := fixture.Name("tenant")
	return &environment{
		Installation: i, t: t, tenant: fixture.Tenant(name), namespace: fixture.Namespace(fixture.Name("ns"), name),
	}
}

// create creates objects.
func (e *environment) create(objects ...client.Object) {
	e.t.Helper()
	e.Create(e.t, objects...)
}

// update changes an object in its current state.
func update[T client.Object](e *environment, object T, change func(T)) {
	e.t.Helper()
	program.WaitUntil(e.t, timeout, "an update that nobody overtakes", func() error {
		if err := e.Client.Get(e.t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change(object)
		return e.Client.Update(e.t.Context(), object)
	})
}

// key creates a key, after its tenant and its namespace.
func (e *environment) key(change ...func(*keysv1alpha1.ApiKey)) *keysv1alpha1.ApiKey {
	e.t.Helper()
	e.create(e.tenant, e.namespace)
	return e.anotherKey(change...)
}

func (e *environment) anotherKey(change ...func(*keysv1alpha1.ApiKey)) *keysv1alpha1.ApiKey {
	e.t.Helper()
	key := fixture.ApiKey(e.namespace.Name, fixture.Name("key"), change...)
	e.create(key)
	return key
}

// readyKey creates a key and waits until it is Ready.
func (e *environment) readyKey() *keysv1alpha1.ApiKey {
	e.t.Helper()
	key := e.key()
	e.awaitKey(key, keysv1alpha1.ReasonReady)
	return key
}

// awaitKey waits until the controller has seen the current key, and reports a reason for it.
func (e *environment) awaitKey(key *keysv1alpha1.ApiKey, reason string) {
	e.t.Helper()
	e.await(key, reason,
		func() ([]metav1.Condition, int64) { return key.Status.Conditions, key.Status.ObservedGeneration })
}

func (e *environment) awaitTenant(tenant *keysv1alpha1.Tenant, reason string) {
	e.t.Helper()
	e.await(tenant, reason,
		func() ([]metav1.Condition, int64) { return tenant.Status.Conditions, tenant.Status.ObservedGeneration })
}

func (e *environment) await(object client.Object, reason string, status func() ([]metav1.Condition, int64)) {
	e.t.Helper()
	program.WaitUntil(e.t, timeout, reason, func() error {
		if err := e.Client.Get(e.t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		conditions, observed := status()
		if observed != object.GetGeneration() ||
			!slices.ContainsFunc(conditions, func(c metav1.Condition) bool { return c.Reason == reason }) {
			return fmt.Errorf("generation %d, observed %d, conditions %v", object.GetGeneration(), observed, conditions)
		}
		return nil
	})
}

// awaitEffective waits until no verifier can accept a key any more.
func (e *environment) awaitEffective(key *keysv1alpha1.ApiKey) {
	e.t.Helper()
	e.Await(e.t, key, keysv1alpha1.ConditionRevocationEffective)
}

// restart replaces the controller, or starts one.
func (e *environment) restart(more ...string) {
	e.t.Helper()
	e.RestartController(install.ControllerOptions{Flags: flags(more...)})
}

// withoutController stops the controller until the test is over.
func (e *environment) withoutController() {
	e.t.Helper()
	e.Controller.Kill()
	e.t.Cleanup(func() { e.restart() })
}

// withNamespaces runs a controller that serves other namespaces than the environment's, until the test is over.
func (e *environment) withNamespaces() {
	e.t.Helper()
	e.restart("--namespaces=default")
	e.t.Cleanup(func() { e.restart() })
}

// withStuckVerifier adds a verifier that is alive and never applies anything further, until the test is over.
func (e *environment) withStuckVerifier() {
	e.t.Helper()
	record := probe.Record{Nonce: "x", Time: metav1.Now(), Applied: "1",
		MaxStaleness: metav1.Duration{Duration: time.Hour}}
	e.writeProbe(e.t.Context(), record.String())
	e.t.Cleanup(func() { e.writeProbe(context.Background(), probe.Record{SignedOff: true}.String()) })
}

func (e *environment) writeProbe(ctx context.Context, value any) {
	e.t.Helper()
	verifier, err := client.New(e.ServiceAccountConfig("apikey-verifier"), client.Options{Scheme: e.Client.Scheme()})
	if err != nil {
		e.t.Fatal(err)
	}
	annotations := map[string]any{probe.Annotation("stuck"): value}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	if err != nil {
		e.t.Fatal(err)
	}
	if err := verifier.Patch(ctx, e.canary(), client.RawPatch(types.MergePatchType, patch)); err != nil {
		e.t.Fatal(err)
	}
}

func (*environment) canary() *keysv1alpha1.ApiKey {
	return &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{Namespace: controlplane.SystemNamespace,
		Name: keysv1alpha1.CanaryName}}
}

func (e *environment) awaitCredentials(key *keysv1alpha1.ApiKey, n int) {
	e.t.Helper()
	program.WaitUntil(e.t, timeout, fmt.Sprintf("%d credentials", n), func() error {
		err := e.Client.Get(e.t.Context(), client.ObjectKeyFromObject(key), key)
		if err == nil && len(key.Status.Credentials) != n {
			err = fmt.Errorf("%d", len(key.Status.Credentials))
		}
		return err
	})
}

func (e *environment) delete(object client.Object) {
	e.t.Helper()
	e.Delete(e.t, object)
}

func (e *environment) deleteAll(object client.Object, which ...client.DeleteAllOfOption) {
	e.t.Helper()
	if err := e.Client.DeleteAllOf(e.t.Context(), object, which...); err != nil {
		e.t.Fatal(err)
	}
}
