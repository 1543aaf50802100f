// Package ledger keeps a tenant's quota: which keys hold one of its places. It is pure. The caller writes a changed
// ledger back with the resourceVersion that was read (compare and swap), so that no place is given to two keys.
package ledger

import (
	"fmt"
	"slices"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// defaultMaxKeys is the default of the schema, for objects without one.
const defaultMaxKeys = 20

// FullError reports that a tenant has as many active keys as it may.
type FullError struct {
	Tenant string
	// Active and Max are numbers of keys.
	Active, Max int
	// Overtaking reports whether there are free places that older keys are waiting for.
	Overtaking bool
}

// Error implements error. It returns how many keys are active, and what can be done. It doesn't name the keys: the
// reader may not be allowed to see their namespaces, and the message of a waiting key would change with each of them.
func (e *FullError) Error() string {
	queue := ""
	if e.Overtaking {
		queue = ", and older keys wait for the places that are left"
	}
	return fmt.Sprintf("tenant %s has %d of at most %d active keys%s: revoke one, or raise spec.maxKeys of the Tenant",
		e.Tenant, e.Active, e.Max, queue)
}

// Max returns how many keys of the tenant may be active at a time.
func Max(tenant *keysv1alpha1.Tenant) int {
	if tenant.Spec.MaxKeys == nil {
		return defaultMaxKeys
	}
	return int(*tenant.Spec.MaxKeys)
}

// Holds reports whether the key with a UID has a place.
func Holds(tenant *keysv1alpha1.Tenant, uid string) bool {
	return slices.ContainsFunc(tenant.Status.ActiveKeys, func(k keysv1alpha1.ActiveKey) bool { return k.UID == uid })
}

// Reserve gives a key a place, and reports whether the ledger has changed. The error is a *FullError. ahead is the
// number of keys without a place that come before this one: it only gets a place if there is one for each of them, too.
//
// A key that was issued has a place already, or gets one in any case: the ledger reflects the facts, and lowering
// maxKeys ends no key. A key that is about to be issued gets a place with a new time, even if it has one. So if its
// expired predecessor's place is being released at the same time, that release fails and is reconsidered.
func Reserve(
	tenant *keysv1alpha1.Tenant, place keysv1alpha1.ActiveKey, issued bool, ahead int,
) (changed bool, err error) {
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

// Release removes the places of the keys for which done is true, and reports whether there were any.
func Release(tenant *keysv1alpha1.Tenant, done func(keysv1alpha1.ActiveKey) bool) bool {
	before := len(tenant.Status.ActiveKeys)
	tenant.Status.ActiveKeys = slices.DeleteFunc(tenant.Status.ActiveKeys, done)
	Summarize(tenant)
	return len(tenant.Status.ActiveKeys) != before
}

// Summarize updates the ledger's summary for people, such as 3/20.
func Summarize(tenant *keysv1alpha1.Tenant) {
	tenant.Status.Keys = fmt.Sprintf("%d/%d", len(tenant.Status.ActiveKeys), Max(tenant))
}
