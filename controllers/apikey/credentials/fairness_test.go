package credentials

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
)

// due is a key that is due to be rotated, and when it asks whether it may be.
type due struct {
	tenant, key types.UID
	requested   bool
	at          time.Duration
}

// simulate makes keys ask as often as the limiter tells them to, for a while, and returns when each was admitted.
func simulate(keys []*due, length time.Duration) map[types.UID]time.Duration {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := clocktesting.NewFakePassiveClock(begin)
	limiter := newRotationLimiter(clock)
	admitted := map[types.UID]time.Duration{}
	for now := time.Duration(0); now < length; now += 50 * time.Millisecond {
		clock.SetTime(begin.Add(now))
		for _, k := range keys {
			if _, done := admitted[k.key]; done || now < k.at {
				continue
			}
			ok, retryAfter := limiter.admit(k.tenant, k.key, k.requested)
			if ok {
				admitted[k.key] = now
			} else if k.at = now + retryAfter; retryAfter <= 0 {
				panic("a key that never stops asking")
			}
		}
	}
	return admitted
}

func many(tenant string, n int, requested bool) []*due {
	keys := make([]*due, n)
	for i := range keys {
		keys[i] = &due{tenant: types.UID(tenant), key: types.UID(fmt.Sprint(tenant, i, requested)), requested: requested}
	}
	return keys
}

// TestRequestedRotationDoesNotWaitForSchedules checks that a requested rotation begins at once, however many scheduled
// ones are due.
func TestRequestedRotationDoesNotWaitForSchedules(t *testing.T) {
	keys := many("busy", 500, false)
	request := &due{tenant: "calm", key: "mine", requested: true, at: 10 * time.Second}
	if at, ok := simulate(append(keys, request), 20*time.Second)["mine"]; !ok || at != 10*time.Second {
		t.Errorf("it is admitted after %s, %t", at, ok)
	}
}

// TestWaitingRequestsComeBeforeSchedules checks that schedules leave enough rotations to the requests that wait, even
// if the schedules ask first.
func TestWaitingRequestsComeBeforeSchedules(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	limiter := newRotationLimiter(clock)
	for _, k := range many("spent", rotationsPerSecond+reservedForRequests, true) {
		limiter.admit(k.tenant, k.key, true)
	}
	limiter.requestsInARow = 0
	requests, schedules := many("calm", maxRequestsInARow, true), many("busy", 10, false)
	for _, k := range requests {
		if ok, _ := limiter.admit(k.tenant, k.key, true); ok {
			t.Fatalf("%s need not wait", k.key)
		}
	}
	clock.SetTime(clock.Now().Add(maxRequestsInARow * time.Second / rotationsPerSecond))
	for _, k := range schedules {
		if ok, _ := limiter.admit(k.tenant, k.key, false); ok {
			t.Errorf("%s comes before requests that wait", k.key)
		}
	}
	for _, k := range requests {
		if ok, retryAfter := limiter.admit(k.tenant, k.key, true); !ok {
			t.Errorf("%s has to wait for another %s", k.key, retryAfter)
		}
	}
}

// TestRotationsAreFairToTenants checks that a tenant with one key doesn't wait for all keys of a tenant with many.
func TestRotationsAreFairToTenants(t *testing.T) {
	for _, requested := range []bool{true, false} {
		keys := append(many("busy", 300, requested), many("busier", 400, requested)...)
		one := &due{tenant: "calm", key: "mine", requested: requested, at: 10 * time.Second}
		admitted := simulate(append(keys, one), 150*time.Second)
		if at, ok := admitted["mine"]; !ok || at > 12*time.Second {
			t.Errorf("requested %t: it is admitted after %s, %t", requested, at, ok)
		}
		busy, busier := 0, 0
		for _, k := range keys {
			if at, ok := admitted[k.key]; ok && at < 40*time.Second {
				if k.tenant == "busy" {
					busy++
				} else {
					busier++
				}
			}
		}
		if busy < 90 || busier < 90 || busy+busier > 5*40+6 {
			t.Errorf("requested %t: in 40 seconds, %d and %d are admitted", requested, busy, busier)
		}
		if len(admitted) < 690 {
			t.Errorf("requested %t: in 150 seconds, only %d are admitted: capacity is lost", requested, len(admitted))
		}
	}
}

// TestNewTenantsDoNotCatchUp checks that a tenant whose rotations become due later than those of others gets no more
// than its share from then on.
func TestNewTenantsDoNotCatchUp(t *testing.T) {
	const later = 20 * time.Second
	early, late := many("early", 400, false), many("late", 400, false)
	for _, k := range late {
		k.at = later
	}
	count := 0
	admitted := simulate(append(early, late...), later+10*time.Second)
	for _, k := range early {
		if at, ok := admitted[k.key]; ok && at > later {
			count++
		}
	}
	if count < 20 {
		t.Errorf("in 10 seconds with another tenant, %d are admitted", count)
	}
}

// TestRequestsDoNotStarveSchedules checks that a tenant which requests rotations again and again does not hold up
// schedules forever.
func TestRequestsDoNotStarveSchedules(t *testing.T) {
	keys := append(many("busy", 400, true), many("calm", 10, false)...)
	admitted := simulate(keys, 60*time.Second)
	for _, k := range keys[400:] {
		if at, ok := admitted[k.key]; !ok || at > 30*time.Second {
			t.Errorf("%s is admitted after %s, %t", k.key, at, ok)
		}
	}
}

// TestKeysThatStopAskingExpire checks that keys which wait and never ask again hold up others for a while only.
func TestKeysThatStopAskingExpire(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	limiter := newRotationLimiter(clock)
	for _, k := range many("gone", 100, true) {
		limiter.admit(k.tenant, k.key, true)
	}
	clock.SetTime(clock.Now().Add(maxRetry + 2*retryGrace))
	for _, tenant := range []types.UID{"calm", "gone"} {
		if ok, retryAfter := limiter.admit(tenant, "mine", true); !ok {
			t.Errorf("tenant %s: wait for %s", tenant, retryAfter)
		}
	}
	if queues := len(limiter.requested.tenants); queues > 2 {
		t.Errorf("%d tenants have a queue", queues)
	}
}

// TestManyTenantsAreAllAdmitted checks that no tenant starves where more wait than are compared.
func TestManyTenantsAreAllAdmitted(t *testing.T) {
	var keys []*due
	for n := range 1000 {
		keys = append(keys, many(fmt.Sprint("tenant-", n), 1, false)...)
	}
	if admitted := simulate(keys, 230*time.Second); len(admitted) < 990 {
		t.Errorf("in 230 seconds, %d of 1000 are admitted", len(admitted))
	}
}
