package credentials

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
)

// due is a key that is due to be rotated, and when it looks whether it may be.
type due struct {
	tenant, key types.UID
	requested   bool
	at          time.Duration
}

// rehearse has keys look as often as they are told to, for a while, and returns when each had its turn. Those that are
// gone are never told.
func rehearse(keys []*due, length time.Duration) map[types.UID]time.Duration {
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := clocktesting.NewFakePassiveClock(begin)
	turns := newTurns(clock)
	had := map[types.UID]time.Duration{}
	for now := time.Duration(0); now < length; now += 50 * time.Millisecond {
		clock.SetTime(begin.Add(now))
		for _, k := range keys {
			if _, done := had[k.key]; done || now < k.at {
				continue
			}
			ok, again := turns.take(k.tenant, k.key, k.requested)
			if ok {
				had[k.key] = now
			} else if k.at = now + again; again <= 0 {
				panic("a key that never stops looking")
			}
		}
	}
	return had
}

func many(tenant string, n int, requested bool) []*due {
	keys := make([]*due, n)
	for i := range keys {
		keys[i] = &due{tenant: types.UID(tenant), key: types.UID(fmt.Sprint(tenant, i, requested)), requested: requested}
	}
	return keys
}

// TestARequestDoesNotWaitForSchedules checks that a request has its turn at once, whatever number of schedules is due.
func TestARequestDoesNotWaitForSchedules(t *testing.T) {
	keys := many("busy", 500, false)
	request := &due{tenant: "calm", key: "mine", requested: true, at: 10 * time.Second}
	if at, ok := rehearse(append(keys, request), 20*time.Second)["mine"]; !ok || at != 10*time.Second {
		t.Errorf("its turn is after %s, %t", at, ok)
	}
}

// TestTenantsTakeTurns checks that a tenant with one key doesn't wait for all keys of a tenant with many.
func TestTenantsTakeTurns(t *testing.T) {
	for _, requested := range []bool{true, false} {
		keys := append(many("busy", 300, requested), many("busier", 400, requested)...)
		one := &due{tenant: "calm", key: "mine", requested: requested, at: 10 * time.Second}
		had := rehearse(append(keys, one), 150*time.Second)
		if at, ok := had["mine"]; !ok || at > 12*time.Second {
			t.Errorf("requested %t: its turn is after %s, %t", requested, at, ok)
		}
		busy, busier := 0, 0
		for _, k := range keys {
			if at, ok := had[k.key]; ok && at < 40*time.Second {
				if k.tenant == "busy" {
					busy++
				} else {
					busier++
				}
			}
		}
		if busy < 90 || busier < 90 || busy+busier > 5*40+6 {
			t.Errorf("requested %t: in 40 seconds, %d and %d had their turn", requested, busy, busier)
		}
		if len(had) < 690 {
			t.Errorf("requested %t: in 150 seconds, only %d had their turn: turns are lost", requested, len(had))
		}
	}
}

// TestRequestsLeaveSchedulesTheirTurns checks that a tenant which asks again and again holds up nobody's schedule for
// good.
func TestRequestsLeaveSchedulesTheirTurns(t *testing.T) {
	keys := append(many("busy", 400, true), many("calm", 10, false)...)
	had := rehearse(keys, 60*time.Second)
	for _, k := range keys[400:] {
		if at, ok := had[k.key]; !ok || at > 30*time.Second {
			t.Errorf("%s had its turn after %s, %t", k.key, at, ok)
		}
	}
}

// TestWhoIsGoneHoldsUpNobody checks that keys which wait and never look again are waited for for a while only.
func TestWhoIsGoneHoldsUpNobody(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	turns := newTurns(clock)
	for _, k := range many("gone", 100, true) {
		turns.take(k.tenant, k.key, true)
	}
	clock.SetTime(clock.Now().Add(latest + 2*lateness))
	if ok, again := turns.take("calm", "mine", true); !ok {
		t.Errorf("wait for %s", again)
	}
	if len(turns.requested.lines) > 2 {
		t.Errorf("%d lines", len(turns.requested.lines))
	}
}

// TestTurnsOfManyTenants checks that what a look costs is bounded, and that all have their turn in time.
func TestTurnsOfManyTenants(t *testing.T) {
	var keys []*due
	for n := range 1000 {
		keys = append(keys, many(fmt.Sprint("tenant-", n), 1, false)...)
	}
	if had := rehearse(keys, 230*time.Second); len(had) < 990 {
		t.Errorf("in 230 seconds, %d of 1000 had their turn", len(had))
	}
}
