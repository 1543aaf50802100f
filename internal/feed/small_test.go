package feed

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// TestSmallStore checks that relevant changes of a Tenant are applied at once, and that other changes don't cause all
// tenants to be applied again: each change of a ledger is a new resourceVersion.
func TestSmallStore(t *testing.T) {
	tenant := func(name, version string, change ...func(*keysv1alpha1.Tenant)) *keysv1alpha1.Tenant {
		made := &keysv1alpha1.Tenant{
			ObjectMeta: metav1.ObjectMeta{Name: name, UID: "u", ResourceVersion: version},
			Spec:       keysv1alpha1.TenantSpec{ID: name, AllowedCIDRs: []keysv1alpha1.CIDR{"203.0.113.0/24"}},
		}
		for _, c := range change {
			c(made)
		}
		return made
	}
	suspended := func(t *keysv1alpha1.Tenant) { t.Spec.State = keysv1alpha1.TenantSuspended }
	elsewhere := func(t *keysv1alpha1.Tenant) { t.Spec.AllowedCIDRs = []keysv1alpha1.CIDR{"198.51.100.0/24"} }
	deleting := func(t *keysv1alpha1.Tenant) { t.DeletionTimestamp = new(metav1.NewTime(noon)) }
	type store = smallStore[*keysv1alpha1.Tenant]
	list := func(version string, tenants ...*keysv1alpha1.Tenant) func(*store) error {
		return func(s *store) error {
			var items []any
			for _, tenant := range tenants {
				items = append(items, tenant)
			}
			return s.Replace(items, version)
		}
	}
	event := func(tenant *keysv1alpha1.Tenant) func(*store) error {
		return func(s *store) error { return s.Update(tenant) }
	}
	for name, test := range map[string]struct {
		change  func(*store) error
		applied bool
		version string
	}{
		"a ledger's event":            {event(tenant("a", "3")), false, "3"},
		"an older event":              {event(tenant("a", "1", suspended)), false, "2"},
		"suspended":                   {event(tenant("a", "3", suspended)), true, "3"},
		"another allowlist":           {event(tenant("a", "3", elsewhere)), true, "3"},
		"deleting":                    {event(tenant("a", "3", deleting)), true, "3"},
		"a new one":                   {event(tenant("c", "3")), true, "3"},
		"gone":                        {func(s *store) error { return s.Delete(tenant("a", "3")) }, true, "3"},
		"a list with other ledgers":   {list("5", tenant("a", "4"), tenant("b", "5")), false, "5"},
		"an older list":               {list("1", tenant("a", "1")), false, "2"},
		"a list with one suspended":   {list("5", tenant("a", "4", suspended), tenant("b", "2")), true, "5"},
		"a list without one":          {list("5", tenant("b", "2")), true, "5"},
		"a list with another":         {list("5", tenant("a", "2"), tenant("b", "2"), tenant("c", "4")), true, "5"},
		"a list with one for another": {list("5", tenant("a", "2"), tenant("c", "4")), true, "5"},
		"a list with none of them":    {list("5"), true, "5"},
		"one that was created again": {list("5", tenant("a", "4", func(t *keysv1alpha1.Tenant) { t.UID = "v" }),
			tenant("b", "2")), true, "5"},
	} {
		t.Run(name, func(t *testing.T) {
			times := 0
			var held map[string]*keysv1alpha1.Tenant
			s := newSmallStore(func(objects map[string]*keysv1alpha1.Tenant) { times, held = times+1, objects })
			if err := list("2", tenant("a", "1"), tenant("b", "2"))(s); err != nil || times != 1 {
				t.Fatalf("the first list: applied %d times, %v", times, err)
			}
			if err := test.change(s); err != nil {
				t.Fatal(err)
			}
			if applied := times == 2; applied != test.applied || s.applied != test.version {
				t.Errorf("applied %t, version %s, want %t, %s", applied, s.applied, test.applied, test.version)
			}
			if test.applied && len(held) != len(s.objects) {
				t.Errorf("%d of %d objects were applied", len(held), len(s.objects))
			}
			for name, o := range s.objects {
				if newer(o.ResourceVersion, s.applied) {
					t.Errorf("%s is held at %s, which is after %s", name, o.ResourceVersion, s.applied)
				}
			}
		})
	}
	times := 0
	s := newSmallStore(func(map[string]*keysv1alpha1.Tenant) { times++ })
	if err := list("2")(s); err != nil || times != 1 {
		t.Errorf("an empty first list: applied %d times, %v", times, err)
	}
}
