package gitops_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// world is what one state is brought about in: a tenant with a namespace of its own.
type world struct {
	*installation
	t         *testing.T
	tenant    *keysv1alpha1.Tenant
	namespace *corev1.Namespace
}

func (i *installation) newWorld(t *testing.T) *world {
	name := fixture.Name("tenant")
	return &world{installation: i, t: t, tenant: fixture.Tenant(name), namespace: fixture.Namespace(fixture.Name("ns"), name)}
}

// create creates objects.
func (w *world) create(objects ...client.Object) {
	w.t.Helper()
	for _, object := range objects {
		if err := w.cp.Client.Create(w.t.Context(), object); err != nil {
			w.t.Fatal(err)
		}
	}
}

// update changes an object, from however it is now.
func update[T client.Object](w *world, object T, change func(T)) {
	w.t.Helper()
	program.WaitUntil(w.t, patience, "an update that nobody overtakes", func() error {
		if err := w.cp.Client.Get(w.t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change(object)
		return w.cp.Client.Update(w.t.Context(), object)
	})
}

// key creates a key, after its tenant and its namespace.
func (w *world) key(change ...func(*keysv1alpha1.ApiKey)) *keysv1alpha1.ApiKey {
	w.t.Helper()
	w.create(w.tenant, w.namespace)
	return w.anotherKey(change...)
}

func (w *world) anotherKey(change ...func(*keysv1alpha1.ApiKey)) *keysv1alpha1.ApiKey {
	w.t.Helper()
	key := fixture.ApiKey(w.namespace.Name, fixture.Name("key"), change...)
	w.create(key)
	return key
}

// readyKey creates a key and waits until it is Ready.
func (w *world) readyKey() *keysv1alpha1.ApiKey {
	w.t.Helper()
	key := w.key()
	w.awaitKey(key, keysv1alpha1.ReasonReady)
	return key
}

// awaitKey waits until the controller has seen a key as it is, and says of it what a reason names.
func (w *world) awaitKey(key *keysv1alpha1.ApiKey, reason string) {
	w.t.Helper()
	w.await(key, reason, func() ([]metav1.Condition, int64) { return key.Status.Conditions, key.Status.ObservedGeneration })
}

func (w *world) awaitTenant(tenant *keysv1alpha1.Tenant, reason string) {
	w.t.Helper()
	w.await(tenant, reason, func() ([]metav1.Condition, int64) { return tenant.Status.Conditions, tenant.Status.ObservedGeneration })
}

func (w *world) await(object client.Object, reason string, status func() ([]metav1.Condition, int64)) {
	w.t.Helper()
	program.WaitUntil(w.t, patience, reason, func() error {
		if err := w.cp.Client.Get(w.t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		conditions, observed := status()
		if observed != object.GetGeneration() || !slices.ContainsFunc(conditions, func(c metav1.Condition) bool { return c.Reason == reason }) {
			return fmt.Errorf("generation %d, observed %d, conditions %v", object.GetGeneration(), observed, conditions)
		}
		return nil
	})
}

// awaitEffective waits until no verifier can accept a key any more.
func (w *world) awaitEffective(key *keysv1alpha1.ApiKey) {
	w.t.Helper()
	program.WaitUntil(w.t, patience, "an effective revocation", func() error {
		err := w.cp.Client.Get(w.t.Context(), client.ObjectKeyFromObject(key), key)
		if err == nil && !apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionRevocationEffective) {
			err = errors.New("it is not")
		}
		return err
	})
}

// withoutController stops the controller until the test is over.
func (w *world) withoutController() {
	w.t.Helper()
	w.controller.Kill()
	w.t.Cleanup(func() { w.start() })
}

// withNamespaces has a controller that keeps Secrets in other namespaces than the world's, until the test is over.
func (w *world) withNamespaces() {
	w.t.Helper()
	w.withoutController() // It comes back after the other one has gone.
	w.start("--namespaces=default")
	w.t.Cleanup(func() { w.controller.Kill() })
}

// withStuckVerifier has a verifier that is alive and never comes further, until the test is over.
func (w *world) withStuckVerifier() {
	w.t.Helper()
	record := probe.Record{Nonce: "x", Time: metav1.Now(), Applied: "1", MaxStaleness: metav1.Duration{Duration: time.Hour}}
	w.writeProbe(w.t.Context(), record.String())
	w.t.Cleanup(func() { w.writeProbe(context.Background(), probe.Record{SignedOff: true}.String()) })
}

func (w *world) writeProbe(ctx context.Context, value any) {
	w.t.Helper()
	verifier, err := client.New(w.cp.ServiceAccountConfig("apikey-verifier"), client.Options{Scheme: w.cp.Client.Scheme()})
	if err != nil {
		w.t.Fatal(err)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{probe.Annotation("stuck"): value}}})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := verifier.Patch(ctx, w.canary(), client.RawPatch(types.MergePatchType, patch)); err != nil {
		w.t.Fatal(err)
	}
}

func (*world) canary() *keysv1alpha1.ApiKey {
	return &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{Namespace: controlplane.SystemNamespace, Name: keysv1alpha1.CanaryName}}
}

func (w *world) awaitCredentials(key *keysv1alpha1.ApiKey, n int) {
	w.t.Helper()
	program.WaitUntil(w.t, patience, fmt.Sprintf("%d credentials", n), func() error {
		err := w.cp.Client.Get(w.t.Context(), client.ObjectKeyFromObject(key), key)
		if err == nil && len(key.Status.Credentials) != n {
			err = fmt.Errorf("%d", len(key.Status.Credentials))
		}
		return err
	})
}

func (w *world) delete(object client.Object) {
	w.t.Helper()
	if err := w.cp.Client.Delete(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) deleteAll(object client.Object, which ...client.DeleteAllOfOption) {
	w.t.Helper()
	if err := w.cp.Client.DeleteAllOf(w.t.Context(), object, which...); err != nil {
		w.t.Fatal(err)
	}
}
