package v1alpha1_test

import (
	"math"
	"testing"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

func TestExpiryFrom(t *testing.T) {
	issued := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for e, want := range map[keysv1alpha1.Expiry]time.Time{
		"":       {},
		"Never":  {},
		"45s":    issued.Add(45 * time.Second),
		"12h":    issued.Add(12 * time.Hour),
		"30d":    time.Date(2026, 12, 23, 12, 0, 0, 0, time.UTC),
		"90d":    time.Date(2027, 2, 21, 12, 0, 0, 0, time.UTC),
		"2w":     time.Date(2026, 12, 7, 12, 0, 0, 0, time.UTC),
		"1y":     time.Date(2027, 11, 23, 12, 0, 0, 0, time.UTC),
		"99999w": issued.AddDate(0, 0, 7*99999),
		"99y":    time.Date(2125, 11, 23, 12, 0, 0, 0, time.UTC),
		// The API server accepts none of these. If it did, the key would have expired.
		"banana": issued,
		"-1d":    issued,
		"0d":     issued,
		"1m":     issued,
		"d":      issued,
	} {
		got, expires := e.From(issued)
		if !got.Equal(want) || expires == want.IsZero() {
			t.Errorf("%q: %v, %v; want %v", e, got, expires, want)
		}
	}
}

func TestPeriodDuration(t *testing.T) {
	for period, want := range map[keysv1alpha1.Period]time.Duration{
		"45s": 45 * time.Second, "12h": 12 * time.Hour, "30d": 720 * time.Hour, "2w": 336 * time.Hour,
		"99999w": math.MaxInt64,
		"":       0, "1y": 0, "1m": 0, "banana": 0, "Never": 0,
	} {
		if got, ok := period.Duration(); got != want || ok != (want != 0) {
			t.Errorf("%q: %v, %v; want %v", period, got, ok, want)
		}
	}
}
