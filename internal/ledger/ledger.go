// Package ledger keeps a tenant's quota: which keys hold one of its places. It is pure. Whoever changes a ledger writes it
// back with the resourceVersion that was read (compare and swap), so that two never give away the same place.
package ledger

import (
	"fmt"
	"slices"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// defaultMaxKeys is that of the schema, for objects that were not defaulted.
const defaultMaxKeys = 20

// FullError says that a tenant has as many active keys as it may.
type FullError struct {
	Tenant string
	// Active and Max are numbers of keys.
	Active, Max int
	// Overtaking reports that there is a place, and that older keys wait for it.
	Overtaking bool
}

// Error implements error. It says how many keys are active, and the way out. It does not say which: they may be in namespaces that whoever
// reads this may not see, and the message of a key that waits would change with each of them.
func (e *FullError) Error() string {
	queue := ""
	if e.Overtaking {
		queue = ", and older keys wait for the places that are left"
	}
	return fmt.Sprintf("tenant %s has %d of at most %d active keys%s: revoke one, or raise spec.maxKeys of the Tenant", e.Tenant, e.Active, e.Max, queue)
}

// Max returns how many of the tenant's keys may be active at a time.
func Max(tenant *keysv1alpha1.Tenant) int {
	if tenant.Spec.MaxKeys == nil {
		return defaultMaxKeys
	}
	return int(*tenant.Spec.MaxKeys)
}

// Holds says whether the key with a UID has a place.
func Holds(tenant *keysv1alpha1.Tenant, uid string) bool {
	return slices.ContainsFunc(tenant.Status.ActiveKeys, func(k keysv1alpha1.ActiveKey) bool { return k.UID == uid })
}

// Reserve gives a key a place, and says whether the ledger has changed. The error is a *FullError. ahead is how many keys that have no
// place come before this one: it gets a place if there is one for each of them too.
//
// A key that was issued has its place already, or gets one in any case: the ledger says what is, and lowering maxKeys ends
// no key. One that is about to be issued gets a place with a new time, also where it has one: somebody who is just giving
// back the place of the expired key that it was is overtaken by that, and looks again.
func Reserve(tenant *keysv1alpha1.Tenant, place keysv1alpha1.ActiveKey, issued bool, ahead int) (changed bool, err error) {
	at := slices.IndexFunc(tenant.Status.ActiveKeys, func(k keysv1alpha1.ActiveKey) bool { return k.UID == place.UID })
	switch {
	case at >= 0 && issued:
		return false, nil
	case at >= 0:
		tenant.Status.ActiveKeys[at] = place
		return true, nil
	case !issued && len(tenant.Status.ActiveKeys)+ahead >= Max(tenant):
		active := len(tenant.Status.ActiveKeys)
		return false, &FullError{Tenant: tenant.Name, Active: active, Max: Max(tenant), Overtaking: active < Max(tenant)}
	}
	tenant.Status.ActiveKeys = append(tenant.Status.ActiveKeys, place)
	Summarize(tenant)
	return true, nil
}

// Release takes away the places of the keys that are done, and says whether there were any.
func Release(tenant *keysv1alpha1.Tenant, done func(keysv1alpha1.ActiveKey) bool) bool {
	before := len(tenant.Status.ActiveKeys)
	tenant.Status.ActiveKeys = slices.DeleteFunc(tenant.Status.ActiveKeys, done)
	Summarize(tenant)
	return len(tenant.Status.ActiveKeys) != before
}

// Summarize writes the ledger's summary for people, such as 3/20.
func Summarize(tenant *keysv1alpha1.Tenant) {
	tenant.Status.Keys = fmt.Sprintf("%d/%d", len(tenant.Status.ActiveKeys), Max(tenant))
}
