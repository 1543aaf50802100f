package keymetrics_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllertest"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keymetrics"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

const day = 24 * time.Hour

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// harness is a collector, and the watches that keep it up to date.
type harness struct {
	*keymetrics.Collector
	clock         *clocktesting.FakePassiveClock
	keys, tenants *controllertest.FakeInformer
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	clock := clocktesting.NewFakePassiveClock(now)
	w := &harness{Collector: keymetrics.New(clock), clock: clock}
	informers := &informertest.FakeInformers{Scheme: controlplane.Scheme()}
	if err := w.Watch(t.Context(), informers); err != nil {
		t.Fatal(err)
	}
	for object, informer := range map[client.Object]**controllertest.FakeInformer{
		&keysv1alpha1.ApiKey{}: &w.keys, &keysv1alpha1.Tenant{}: &w.tenants,
	} {
		var err error
		if *informer, err = informers.FakeInformerFor(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// metric returns the values of a metric by its labels' values, joined by slashes.
func (w *harness) metric(t *testing.T, name string) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(w)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetValue())
			}
			values[strings.Join(labels, "/")] = metric.GetGauge().GetValue()
		}
	}
	return values
}

func (w *harness) expect(t *testing.T, name string, want map[string]float64) {
	t.Helper()
	if got := w.metric(t, name); !maps.Equal(got, want) {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

// newKey returns a key with conditions, as the controller sets them.
func newKey(name string, conditions ...metav1.Condition) *keysv1alpha1.ApiKey {
	return fixture.ApiKey("warehouse", name, func(key *keysv1alpha1.ApiKey) {
		key.CreationTimestamp = metav1.NewTime(now.Add(-100 * day))
		key.Generation, key.Status.ObservedGeneration = 1, 1
		key.Status.Conditions = conditions
	})
}

func condition(name string, status metav1.ConditionStatus, reason string, ago time.Duration) metav1.Condition {
	return metav1.Condition{Type: name, Status: status, Reason: reason, LastTransitionTime: metav1.NewTime(now.Add(-ago))}
}

// ready returns the condition of a key that works.
func ready() metav1.Condition { return condition("Ready", "True", "Ready", day) }

func TestStates(t *testing.T) {
	w := newHarness(t)
	for _, key := range []*keysv1alpha1.ApiKey{
		newKey("ready", ready()),
		newKey("ready-too", ready(), condition("Expired", "False", "ExpiringSoon", 0)),
		newKey("waiting", condition("Ready", "Unknown", "Announced", 0), condition("Reconciling", "True", "Announced", 0)),
		newKey("new"),
		newKey("stalled", condition("Ready", "False", "NoTenant", 0), condition("Stalled", "True", "NoTenant", 0)),
		newKey("suspended", condition("Suspended", "True", "Suspended", 0)),
		newKey("expired", condition("Expired", "True", "Expired", 0)),
		newKey("revoked", condition("Expired", "True", "Expired", 0), condition("Revoked", "True", "Revoked", 0)),
	} {
		w.keys.Add(key)
	}
	canary := newKey("canary", condition("Suspended", "True", "Suspended", 0))
	canary.Labels = map[string]string{keysv1alpha1.CanaryLabel: "true"}
	w.keys.Add(canary)
	w.expect(t, "apikey_controller_keys", map[string]float64{
		"Ready/ready": 2, "Announced/waiting": 1, "/waiting": 1, "NoTenant/stalled": 1,
		"Suspended/suspended": 1, "Expired/expired": 1, "Revoked/revoked": 1,
	})

	w.keys.Update(newKey("waiting"), newKey("waiting", ready()))
	w.keys.Delete(newKey("new"))
	w.keys.Delete(newKey("stalled"))
	w.expect(t, "apikey_controller_keys", map[string]float64{
		"Ready/ready": 3, "Suspended/suspended": 1, "Expired/expired": 1, "Revoked/revoked": 1,
	})
}

func TestExpiring(t *testing.T) {
	w := newHarness(t)
	for name, test := range map[string]struct {
		life, left time.Duration
		condition  metav1.Condition
	}{
		"in an hour":           {90 * day, time.Hour, ready()},
		"in 5 days":            {90 * day, 5 * day, ready()},
		"in 7 days":            {90 * day, 7 * day, ready()},
		"in 20 days":           {90 * day, 20 * day, ready()},
		"in 60 days":           {90 * day, 60 * day, ready()},
		"of a week, in a day":  {7 * day, day, ready()},
		"stalled, in an hour":  {90 * day, time.Hour, condition("Stalled", "True", "UnknownScope", day)},
		"not any more":         {90 * day, -time.Hour, condition("Expired", "True", "Expired", 0)},
		"revoked, in an hour":  {90 * day, time.Hour, condition("Revoked", "True", "Revoked", 0)},
		"suspended, in a week": {90 * day, 7 * day, condition("Suspended", "True", "Suspended", 0)},
	} {
		key := newKey(name, test.condition)
		expires := metav1.NewTime(now.Add(test.left))
		issued := metav1.NewTime(expires.Add(-test.life))
		key.Status.IssuedTime, key.Status.ExpiresTime = &issued, &expires
		w.keys.Add(key)
	}
	w.keys.Add(newKey("never", ready()))
	w.expect(t, "apikey_controller_keys_expiring", map[string]float64{"1d": 3, "7d": 4, "30d": 5})
	w.clock.SetTime(now.Add(14 * day))
	w.expect(t, "apikey_controller_keys_expiring", map[string]float64{"1d": 0, "7d": 1, "30d": 1})
}

func TestOldestWaiting(t *testing.T) {
	w := newHarness(t)
	expect := func(want time.Duration) {
		t.Helper()
		w.expect(t, "apikey_controller_oldest_waiting_seconds", map[string]float64{"": want.Seconds()})
	}
	expect(0)
	w.keys.Add(newKey("ready", ready()))
	expect(0)
	w.keys.Add(newKey("waiting",
		condition("Ready", "Unknown", "Announced", day),
		condition("Reconciling", "True", "Announced", time.Minute)))
	expect(time.Minute)

	// The controller has not seen this one since it was created, so it has waited the longest.
	w.keys.Add(newKey("new"))
	expect(100 * day)
	w.keys.Delete(newKey("new"))

	// A key whose spec changes has waited since that was seen, whatever else happens to it.
	changed := newKey("ready", ready())
	changed.Generation = 2
	w.keys.Update(newKey("ready", ready()), changed)
	w.clock.SetTime(now.Add(time.Hour))
	w.keys.Update(changed, changed.DeepCopy())
	w.keys.Delete(newKey("waiting"))
	expect(time.Hour)
	seen := changed.DeepCopy()
	seen.Status.ObservedGeneration = 2
	w.keys.Update(changed, seen)
	expect(0)
}

func TestQuotas(t *testing.T) {
	w := newHarness(t)
	for name, active := range map[string]int{"empty": 0, "some": 7, "most": 8, "nearly": 9, "full": 10, "over": 11} {
		w.tenants.Add(fixture.Tenant(name, func(tenant *keysv1alpha1.Tenant) {
			tenant.Spec.MaxKeys = new(int32)
			*tenant.Spec.MaxKeys = 10
			tenant.Status.ActiveKeys = make([]keysv1alpha1.ActiveKey, active)
		}))
	}
	w.expect(t, "apikey_controller_tenants", map[string]float64{"": 6})
	w.expect(t, "apikey_controller_tenants_quota", map[string]float64{"0.8": 4, "0.9": 3, "1": 2})
	w.tenants.Delete(fixture.Tenant("over"))
	w.expect(t, "apikey_controller_tenants_quota", map[string]float64{"0.8": 3, "0.9": 2, "1": 1})
}
