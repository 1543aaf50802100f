package v1alpha1

import (
	"math"
	"strconv"
	"time"
)

// From returns when something that was issued at a given time expires, and false if it never does. An invalid expiry,
// which the API server doesn't accept, has expired at once: it fails closed.
func (e Expiry) From(issued time.Time) (time.Time, bool) {
	if e == "" || e == ExpiryNever {
		return time.Time{}, false
	}
	count, unit, ok := splitPeriod(string(e))
	if !ok {
		return issued, true
	}
	switch unit {
	case 'y':
		return issued.UTC().AddDate(count, 0, 0), true
	case 'w': // By date: a thousand years are more than a time.Duration can hold.
		return issued.UTC().AddDate(0, 0, 7*count), true
	}
	return issued.Add(time.Duration(count) * periodUnits[unit]), true
}

// OrNever returns the expiry as the tenant's options name it: Never if it is empty.
func (e Expiry) OrNever() Expiry {
	if e == "" {
		return ExpiryNever
	}
	return e
}

// Duration returns the length of the period, at most the 292 years that a time.Duration holds. It returns false for a
// period that is invalid or empty.
func (p Period) Duration() (time.Duration, bool) {
	count, unit, ok := splitPeriod(string(p))
	if !ok || unit == 'y' {
		return 0, false
	}
	if longest := math.MaxInt64 / periodUnits[unit]; time.Duration(count) > longest {
		return math.MaxInt64, true
	}
	return time.Duration(count) * periodUnits[unit], true
}

var periodUnits = map[byte]time.Duration{
	's': time.Second, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour, 'y': 0,
}

func splitPeriod(s string) (count int, unit byte, ok bool) {
	if len(s) < 2 {
		return 0, 0, false
	}
	unit = s[len(s)-1]
	if _, known := periodUnits[unit]; !known {
		return 0, 0, false
	}
	count, err := strconv.Atoi(s[:len(s)-1])
	return count, unit, err == nil && count > 0 && count < 100_000
}
