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

// market is a cache with tenants acme and globex, whose namespaces are those that begin with their names.
type market struct {
	client.Client
	tenants []keysv1alpha1.Tenant
	indexer toolscache.Indexer
	made    time.Time
}

func newMarket() (*market, *watches) {
	m := &market{indexer: toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, keycache.Indexers()), made: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	for _, name := range []string{"acme", "globex"} {
		m.tenants = append(m.tenants, keysv1alpha1.Tenant{
			ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
			Spec: keysv1alpha1.TenantSpec{
				MaxKeys: new(int32(20)), NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tenant": name}},
			},
		})
	}
	return m, newWatches(m, keycache.IndexOf(m.indexer), nil)
}

func (m *market) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	namespace, ok := into.(*corev1.Namespace)
	if !ok || name.Name == "gone" {
		return apierrors.NewNotFound(corev1.Resource("namespaces"), name.Name)
	}
	tenant, _, _ := strings.Cut(name.Name, "-")
	namespace.Name, namespace.Labels = name.Name, map[string]string{"tenant": tenant}
	return nil
}

func (m *market) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*keysv1alpha1.TenantList).Items = m.tenants
	return nil
}

// wait has a key wait in a namespace. Each is younger than those before.
func (m *market) wait(t *testing.T, namespace, name string) *keysv1alpha1.ApiKey {
	t.Helper()
	m.made = m.made.Add(time.Minute)
	key := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID(namespace + name), CreationTimestamp: metav1.NewTime(m.made),
	}}
	key.Status.Conditions = quotaExceeded("Tenant acme has 20 of at most 20 active keys.")
	if err := m.indexer.Add(key); err != nil {
		t.Fatal(err)
	}
	return key
}

func quotaExceeded(message string) []metav1.Condition {
	return []metav1.Condition{{Type: keysv1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: keysv1alpha1.ReasonQuotaExceeded, Message: message}}
}

func (m *market) woken(w *watches, tenant, places int) (names []string) {
	after := m.tenants[tenant]
	after.Status.ActiveKeys = make([]keysv1alpha1.ActiveKey, places)
	for _, request := range w.keysWaitingForPlace(context.Background(), &after) {
		names = append(names, request.String())
	}
	return names
}

// TestAFreePlaceIsForTheOldest checks that as many keys are looked at as there are places, the tenant's oldest, and no
// other tenant's.
func TestAFreePlaceIsForTheOldest(t *testing.T) {
	m, c := newMarket()
	m.wait(t, "globex-a", "first")
	for n := range 120 {
		m.wait(t, fmt.Sprint("acme-", n%3), fmt.Sprintf("key-%03d", 119-n))
	}
	m.wait(t, "gone", "last")
	for places, want := range map[int][]string{
		21: nil, 20: nil, 19: {"acme-0/key-119"}, 17: {"acme-0/key-119", "acme-1/key-118", "acme-2/key-117"},
	} {
		if got := m.woken(c, 0, places); !slices.Equal(got, want) {
			t.Errorf("with %d of 20 places taken, %v are looked at, want %v", places, got, want)
		}
	}
	if got := m.woken(c, 1, 0); !slices.Equal(got, []string{"globex-a/first"}) {
		t.Errorf("%v are looked at for the other tenant", got)
	}
}

// beyond ends the message of a key that does not wait, because too many do.
const beyond = " 100 older keys of its namespace wait for a place already, so this one does not: it is looked at every 10 minutes."

// TestWhoeverLeavesMakesRoom checks that a key which is gone, or does not wait any more, has the next be looked at; and
// that one which goes on waiting hasn't.
func TestWhoeverLeavesMakesRoom(t *testing.T) {
	m, c := newMarket()
	first := m.wait(t, "acme-a", "first")
	m.wait(t, "acme-b", "second")
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
		t.Error("a key leaves and nobody takes notice")
	}
	if !changed(func(k *keysv1alpha1.ApiKey) { k.DeletionTimestamp = &metav1.Time{Time: m.made} }) {
		t.Error("a key is being deleted and nobody takes notice")
	}
	if changed(func(k *keysv1alpha1.ApiKey) { k.Spec.DisplayName = "x" }) || leftWaiting().Delete(event.DeleteEvent{Object: &keysv1alpha1.ApiKey{}}) {
		t.Error("a key that waits, or never did, is taken for one that leaves")
	}
	if err := m.indexer.Delete(first); err != nil {
		t.Fatal(err)
	}
	m.tenants[0].Status.ActiveKeys = make([]keysv1alpha1.ActiveKey, 19)
	if got := c.keysWaitingBeside(t.Context(), first); len(got) != 1 || got[0].Name != "second" {
		t.Errorf("%v is looked at", got)
	}
}
