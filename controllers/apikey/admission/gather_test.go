package admission

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// fakeCache is a cache with one tenant, which selects every namespace, and the new keys of a namespace.
type fakeCache struct {
	client.Reader
	tenant keysv1alpha1.Tenant
	keys   []*keysv1alpha1.ApiKey
}

func (s *fakeCache) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	namespace, ok := into.(*corev1.Namespace)
	if !ok {
		return fmt.Errorf("a %T is read", into)
	}
	namespace.Name, namespace.Labels = name.Name, map[string]string{"tenant": s.tenant.Name}
	return nil
}

func (s *fakeCache) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

// For implements Tenants.
func (s *fakeCache) For(context.Context, map[string]string) ([]keysv1alpha1.Tenant, error) {
	return []keysv1alpha1.Tenant{s.tenant}, nil
}

// Claimants implements Keys.
func (s *fakeCache) Claimants(context.Context, string) ([]keysv1alpha1.ApiKey, error) {
	return nil, nil
}

// New implements Keys.
func (s *fakeCache) New(context.Context, string) ([]*keysv1alpha1.ApiKey, error) {
	return slices.Clone(s.keys), nil
}

// TestNoMoreCandidatesThanPlaces checks that however many keys somebody creates in a namespace, no more of them are
// candidates than there are places. Deciding about all of them for each of them would take time in proportion to the
// square of their number, and every other tenant's keys would wait.
func TestNoMoreCandidatesThanPlaces(t *testing.T) {
	const many, places = 5_000, 5
	s := &fakeCache{tenant: keysv1alpha1.Tenant{
		ObjectMeta: metav1.ObjectMeta{Name: "acme", UID: "acme"},
		Spec: keysv1alpha1.TenantSpec{
			ID: "3714240b-2e06-4c35-8856-ccc1c096323e", ExpiryOptions: []keysv1alpha1.Expiry{keysv1alpha1.ExpiryNever},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tenant": "acme"}},
		},
	}}
	for i := range many {
		name := fmt.Sprint(i)
		key := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name)}}
		key.Spec.State = keysv1alpha1.ApiKeyActive
		s.keys = append(s.keys, key)
	}
	served := 0
	g := &Gatherer{Client: s, Tenants: s, Keys: s, Serves: func(string) bool { served++; return true }}
	candidates, err := g.Candidates(t.Context(), s.keys[0], &s.tenant, places)
	if err != nil || len(candidates) != places || served != 1 {
		t.Errorf("%d candidates, %v, and the input was gathered %d times", len(candidates), err, served)
	}
	// The number of refused keys that are looked at is limited too.
	for _, key := range s.keys {
		key.Spec.Expiry = "90d"
	}
	if candidates, err = g.Candidates(t.Context(), s.keys[0], &s.tenant, places); err != nil || len(candidates) != 0 {
		t.Errorf("%d candidates that would be refused, %v", len(candidates), err)
	}
}
