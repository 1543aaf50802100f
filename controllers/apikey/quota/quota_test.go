package quota

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
)

// TestNoMoreCandidatesThanPlaces checks that no more candidates are asked for than there are places, and none if there
// is no place.
func TestNoMoreCandidatesThanPlaces(t *testing.T) {
	var asked []int
	candidates := func(
		_ context.Context, _ *keysv1alpha1.ApiKey, _ *keysv1alpha1.Tenant, limit int,
	) ([]*keysv1alpha1.ApiKey, error) {
		asked = append(asked, limit)
		return []*keysv1alpha1.ApiKey{{}}, nil
	}
	s := NewReserve(nil, nil, clocktesting.NewFakePassiveClock(time.Now()), candidates, nobodyWaits())
	tenant := &keysv1alpha1.Tenant{
		ObjectMeta: metav1.ObjectMeta{Name: "acme", UID: "acme"}, Spec: keysv1alpha1.TenantSpec{MaxKeys: new(int32(5))},
	}
	r := lifecycle.New(&keysv1alpha1.ApiKey{}, time.Now(), nil)
	r.Admission.Tenant = tenant
	if others, err := s.others(t.Context(), r); err != nil || len(others) != 1 {
		t.Errorf("%d others, %v", len(others), err)
	}
	for i := range 5 {
		tenant.Status.ActiveKeys = append(tenant.Status.ActiveKeys, keysv1alpha1.ActiveKey{UID: fmt.Sprint("held-", i)})
	}
	if others, err := s.others(t.Context(), r); err != nil || len(others) != 0 || len(asked) != 1 || asked[0] != 5 {
		t.Errorf("without a place: %d others, %v, asked for %v", len(others), err, asked)
	}
}
