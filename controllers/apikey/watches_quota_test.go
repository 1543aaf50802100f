package apikey

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/keycache"
)

// fakeCache is a cache with the tenants acme and globex, whose namespaces begin with their names.
type fakeCache struct {
	client.Client
	tenants []keysv1alpha1.Tenant
	indexer toolscache.Indexer
	created time.Time
}

func newFakeCache() (*fakeCache, *watches) {
	m := &fakeCache{
		indexer: toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, keycache.Indexers()),
		created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	for _, name := range []string{"acme", "globex"} {
		m.tenants = append(m.tenants, keysv1alpha1.Tenant{
			ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
			Spec: keysv1alpha1.TenantSpec{
				MaxKeys: new(int32(20)), NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tenant": name}},
			},
		})
	}
	return m, newWatches(m, keycache.KeysOf(m.indexer), nil)
}

func (m *fakeCache) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	namespace, ok := into.(*corev1.Namespace)
	if !ok || name.Name == "gone" {
		return apierrors.NewNotFound(corev1.Resource("namespaces"), name.Name)
	}
	tenant, _, _ := strings.Cut(name.Name, "-")
	namespace.Name, namespace.Labels = name.Name, map[string]string{"tenant": tenant}
	return nil
}

func (m *fakeCache) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*keysv1alpha1.TenantList).Items = m.tenants
	return nil
}

// wait adds a key that waits in a namespace. Each is younger than those before.
func (m *fakeCache) wait(t *testing.T, namespace, name string) *keysv1alpha1.ApiKey {
	t.Helper()
	m.created = m.created.Add(time.Minute)
	key := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID(namespace + name), CreationTimestamp: metav1.NewTime(m.created),
	}}
	key.Status.Conditions = quotaExceeded("Tenant acme has 20 of at most 20 active keys.")
	if err := m.indexer.Add(key); err != nil {
		t.Fatal(err)
	}
	return key
}

func quotaExceeded(message string) []metav1.Condition {
	return []metav1.Condition{{
		Type: keysv1alpha1.ConditionReady, Status: metav1.ConditionFalse,
		Reason: keysv1alpha1.ReasonQuotaExceeded, Message: message,
	}}
}

// reconciled returns the keys that are reconciled when a number of a tenant's places are taken.
func (m *fakeCache) reconciled(w *watches, tenant, places int) (names []string) {
	after := m.tenants[tenant]
	after.Status.ActiveKeys = make([]keysv1alpha1.ActiveKey, places)
	for _, request := range w.keysWaitingForPlace(context.Background(), &after) {
		names = append(names, request.String())
	}
	return names
}

// TestAFreePlaceIsForTheOldest checks that the tenant's oldest keys are reconciled, as many as there are places, and
// none of another tenant.
func TestAFreePlaceIsForTheOldest(t *testing.T) {
	m, c := newFakeCache()
	m.wait(t, "globex-a", "first")
	for n := range 120 {
		m.wait(t, fmt.Sprint("acme-", n%3), fmt.Sprintf("key-%03d", 119-n))
	}
	m.wait(t, "gone", "last")
	for places, want := range map[int][]string{
		21: nil, 20: nil, 19: {"acme-0/key-119"}, 17: {"acme-0/key-119", "acme-1/key-118", "acme-2/key-117"},
	} {
		if got := m.reconciled(c, 0, places); !slices.Equal(got, want) {
			t.Errorf("with %d of 20 places taken, %v are reconciled, want %v", places, got, want)
		}
	}
	if got := m.reconciled(c, 1, 0); !slices.Equal(got, []string{"globex-a/first"}) {
		t.Errorf("%v are reconciled for the other tenant", got)
	}
}

// beyond ends the message of a key that does not wait, because too many do.
const beyond = " 100 older keys of its namespace wait for a place already, so this one does not: " +
	"it is looked at every 10 minutes."

// TestNextKeyIsReconciledWhenOneStopsWaiting checks that the next key is reconciled when a key is gone or does not wait
// any more, and not while that goes on waiting.
func TestNextKeyIsReconciledWhenOneStopsWaiting(t *testing.T) {
	m, c := newFakeCache()
	first := m.wait(t, "acme-a", "first")
	m.wait(t, "acme-b", "second")
	m.wait(t, "acme-a", "third")
	m.wait(t, "globex-a", "other")
	changed := func(change func(*keysv1alpha1.ApiKey)) bool {
		after := first.DeepCopy()
		change(after)
		return leftWaiting().Update(event.UpdateEvent{ObjectOld: first, ObjectNew: after})
	}
	if !leftWaiting().Delete(event.DeleteEvent{Object: first}) ||
		!changed(func(k *keysv1alpha1.ApiKey) { k.Status.Conditions[0].Reason = keysv1alpha1.ReasonReady }) ||
		!changed(func(k *keysv1alpha1.ApiKey) { k.Status.Conditions[0].Reason = keysv1alpha1.ReasonUnknownScope }) ||
		!changed(func(k *keysv1alpha1.ApiKey) { k.Status.Conditions = quotaExceeded("Full." + beyond) }) {
		t.Error("a key stops waiting and the next one is not reconciled")
	}
	if !changed(func(k *keysv1alpha1.ApiKey) { k.DeletionTimestamp = &metav1.Time{Time: m.created} }) {
		t.Error("a key is being deleted and the next one is not reconciled")
	}
	if changed(func(k *keysv1alpha1.ApiKey) { k.Spec.DisplayName = "x" }) ||
		leftWaiting().Delete(event.DeleteEvent{Object: &keysv1alpha1.ApiKey{}}) {
		t.Error("a key that goes on waiting, or never did, is taken for one that stops")
	}
	if err := m.indexer.Delete(first); err != nil {
		t.Fatal(err)
	}
	m.tenants[0].Status.ActiveKeys = make([]keysv1alpha1.ActiveKey, 19)
	if got := c.keysWaitingBeside(t.Context(), first); len(got) != 1 || got[0].Name != "second" {
		t.Errorf("%v is reconciled", got)
	}
}
