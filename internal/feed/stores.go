package feed

import (
	"fmt"
	"maps"
	"reflect"
	"sync"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/cache"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
	"github.com/nexuscommerce/apikey-operator/internal/usage"
)

// credentialStore puts ApiKeys straight from the reflector into the index, so that whatever is observed is applied.
type credentialStore struct {
	mu          sync.Mutex
	credentials *index.Credentials
	// version is the resourceVersion up to which everything has been applied.
	version string
	// observe is called with the canary, after all that came before it has been applied.
	observe func(canary *keysv1alpha1.ApiKey)
	synced  func()
	// rollbackDetected is called when the API server shows an older state than before.
	rollbackDetected func(evidence string)
	// awaited is called when something has been applied that the controller waits for.
	awaited func()
	// touched holds, during an audit, the names of the keys that have been applied since it began.
	touched map[string]struct{}
	// replaced reports whether all keys have been replaced since the audit began.
	replaced bool
	// usage is optional. It is passed every key.
	usage *usage.Recorder
}

var (
	_ cache.ReflectorStore         = (*credentialStore)(nil)
	_ cache.ReflectorBookmarkStore = (*credentialStore)(nil)
	_ cache.TransformingStore      = (*credentialStore)(nil)
)

// applied returns the resourceVersion up to which everything has been applied.
func (s *credentialStore) applied() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// Bookmark implements cache.ReflectorBookmarkStore.
func (s *credentialStore) Bookmark(resourceVersion string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = resourceVersion
	return nil
}

// Add implements cache.ReflectorStore.
func (s *credentialStore) Add(obj any) error {
	key, ok := obj.(*keysv1alpha1.ApiKey)
	if !ok {
		return fmt.Errorf("expected an ApiKey, got %T", obj)
	}
	s.mu.Lock()
	s.put(key)
	s.version = key.ResourceVersion
	s.mu.Unlock()
	switch {
	case keystate.IsCanary(key):
		s.observe(key)
	case isAwaited(key):
		s.awaited()
	}
	return nil
}

// Update implements cache.ReflectorStore.
func (s *credentialStore) Update(obj any) error { return s.Add(obj) }

// Delete implements cache.ReflectorStore.
func (s *credentialStore) Delete(obj any) error {
	key, ok := obj.(*keysv1alpha1.ApiKey)
	if !ok {
		return fmt.Errorf("expected an ApiKey, got %T", obj)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(objectName(key))
	s.version = key.ResourceVersion
	return nil
}

// listedName is the name of a key of a streamed list that has already been applied.
type listedName string

// Transformer implements cache.TransformingStore. A reflector transforms the objects of a streamed list and collects
// them before it calls Replace. With very many keys, that would take several times the memory of the index. So each key
// is applied as it arrives, and only its name is collected. The version stays as it was until the list is complete.
//
// Two kinds of keys are left to Replace: the canary, whose nonce proves something only then; and, unless this is the
// first list, keys that may do more than the index knows, because a later part of the list may show that etcd was
// restored.
func (s *credentialStore) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		key, ok := obj.(*keysv1alpha1.ApiKey)
		if !ok || keystate.IsCanary(key) {
			return obj, nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if claims := index.ClaimsOf(key); s.version != "" && s.grantsMore(claims) {
			s.detectRollback(claims)
			return obj, nil
		}
		s.put(key)
		return listedName(objectName(key)), nil
	}
}

// Replace implements cache.ReflectorStore. Readers see the changes key by key, never an empty index.
func (s *credentialStore) Replace(list []any, resourceVersion string) error {
	s.mu.Lock()
	if newer(s.version, resourceVersion) {
		s.rollbackDetected("a list at resourceVersion " + resourceVersion + " after one at " + s.version)
	}
	for _, obj := range list { // Before any of these keys can take effect.
		if key, ok := obj.(*keysv1alpha1.ApiKey); ok {
			s.detectRollback(index.ClaimsOf(key))
		}
	}
	present := make(map[string]struct{}, len(list))
	var canary *keysv1alpha1.ApiKey
	for _, obj := range list {
		if name, ok := obj.(listedName); ok {
			present[string(name)] = struct{}{}
			continue
		}
		key, ok := obj.(*keysv1alpha1.ApiKey)
		if !ok {
			s.mu.Unlock()
			return fmt.Errorf("expected an ApiKey, got %T", obj)
		}
		present[objectName(key)] = struct{}{}
		s.credentials.Put(objectName(key), s.assignUsageSlots(key, index.ClaimsOf(key)))
		if keystate.IsCanary(key) {
			canary = key
		}
	}
	for _, name := range s.credentials.Objects() {
		if _, ok := present[name]; !ok {
			s.forget(name)
		}
	}
	if s.usage != nil {
		s.usage.Retain(present)
	}
	s.version = resourceVersion
	s.replaced = true
	s.mu.Unlock()
	s.synced()
	if canary != nil {
		s.observe(canary)
	}
	return nil
}

// Resync implements cache.ReflectorStore. It has nothing to do.
func (*credentialStore) Resync() error { return nil }

func (s *credentialStore) put(key *keysv1alpha1.ApiKey) {
	claims := index.ClaimsOf(key)
	s.detectRollback(claims)
	s.set(objectName(key), s.assignUsageSlots(key, claims))
}

// grantsMore reports whether one of the claims is unknown to the index, or was refused and no longer is.
func (s *credentialStore) grantsMore(claims []*index.Claim) bool {
	for _, claim := range claims {
		var before index.Grant
		if !s.credentials.Held(claim.Name, &claim.Digest, &before) ||
			before.State != index.StateActive && claim.State == index.StateActive {
			return true
		}
	}
	return false
}

// detectRollback looks for a claim that was revoked and no longer is. The API server never allows that, so etcd must
// have been restored to an older state.
func (s *credentialStore) detectRollback(claims []*index.Claim) {
	for _, claim := range claims {
		if claim.State == index.StateRevoked || claim.State == index.StateDeleting {
			continue
		}
		var before index.Grant
		if s.credentials.Held(claim.Name, &claim.Digest, &before) && before.State == index.StateRevoked &&
			before.CredentialID == claim.CredentialID && before.Issued == claim.Issued {
			s.rollbackDetected("ApiKey " + claim.Name + " was revoked, and isn't any more")
		}
	}
}

// assignUsageSlots sets the usage slots of a key's claims, and returns the claims.
func (s *credentialStore) assignUsageSlots(key *keysv1alpha1.ApiKey, claims []*index.Claim) []*index.Claim {
	if s.usage != nil {
		slotOf := s.usage.Apply(key)
		for _, claim := range claims {
			claim.UsageSlot = slotOf(claim.CredentialID)
		}
	}
	return claims
}

func (s *credentialStore) forget(name string) {
	s.set(name, nil)
	if s.usage != nil {
		s.usage.Forget(name)
	}
}

func (s *credentialStore) set(name string, claims []*index.Claim) {
	s.credentials.Put(name, claims)
	if s.touched != nil {
		s.touched[name] = struct{}{}
	}
}

// compact reduces the memory that keys take.
func (s *credentialStore) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credentials.Compact()
	if s.usage != nil {
		s.usage.Compact()
	}
}

// track starts recording which keys are applied, for repair.
func (s *credentialStore) track() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched, s.replaced = map[string]struct{}{}, false
}

// untrack stops what track has started.
func (s *credentialStore) untrack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched = nil
}

// matches reports whether the claims in the index are those of the key.
func (s *credentialStore) matches(key *keysv1alpha1.ApiKey) bool {
	claims := index.ClaimsOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.credentials.Holds(objectName(key), claims)
}

// names returns the names of all keys that have claims in the index.
func (s *credentialStore) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.credentials.Objects()
}

// repair makes the claims in the index those of the key, or removes them if the key is nil. It reports whether they
// differed. It leaves keys alone that have been applied since track was called, because they are newer.
func (s *credentialStore) repair(name string, key *keysv1alpha1.ApiKey) bool {
	var claims []*index.Claim
	if key != nil {
		claims = index.ClaimsOf(key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, touched := s.touched[name]
	if touched || s.replaced || s.credentials.Holds(name, claims) {
		return false
	}
	if key == nil {
		s.forget(name)
	} else {
		s.put(key)
	}
	return true
}

func objectName(key *keysv1alpha1.ApiKey) string { return key.Namespace + "/" + key.Name }

// isAwaited reports whether the controller waits for verifiers to apply this state of a key: a credential that is not
// published, or a revocation for which it has not set the condition RevocationEffective. It first sets that to False,
// which is a later state of the key, so that one needs no acknowledgement of its own. A new controller learns from the
// next proof of freshness.
func isAwaited(key *keysv1alpha1.ApiKey) bool {
	if keystate.Revoked(key) {
		return apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionRevocationEffective) == nil
	}
	credentials := key.Status.Credentials
	return len(credentials) > 0 && credentials[len(credentials)-1].PublishedTime == nil
}

// smallStore keeps all objects of a kind of which there are few. A watch and consistent lists feed it side by side, and
// either may be ahead of the other. So it drops whatever is older than what it has already applied. Watch and lists are
// each complete up to their own resourceVersion, so nothing is lost.
type smallStore[T metav1.Object] struct {
	mu      sync.Mutex
	objects map[string]T
	applied string
	apply   func(map[string]T)
	// same reports whether two objects differ in nothing but the resourceVersion.
	same func(a, b T) bool
}

// newSmallStore returns an empty store. S is the struct that a T points to.
func newSmallStore[S any, T structObject[S]](apply func(map[string]T)) *smallStore[T] {
	return &smallStore[T]{objects: map[string]T{}, apply: apply, same: same[S, T]}
}

// Add implements cache.ReflectorStore.
func (s *smallStore[T]) Add(obj any) error {
	return s.event(obj, func(o T) (changed bool) {
		changed = !s.same(s.objects[o.GetName()], o)
		s.objects[o.GetName()] = o
		return changed
	})
}

// Update implements cache.ReflectorStore.
func (s *smallStore[T]) Update(obj any) error { return s.Add(obj) }

// Delete implements cache.ReflectorStore.
func (s *smallStore[T]) Delete(obj any) error {
	return s.event(obj, func(o T) bool {
		delete(s.objects, o.GetName())
		return true
	})
}

func (s *smallStore[T]) event(obj any, change func(T) (changed bool)) error {
	o, ok := obj.(T)
	if !ok {
		return fmt.Errorf("expected a %T, got %T", o, obj)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if newer(s.applied, o.GetResourceVersion()) {
		return nil
	}
	if change(o) {
		s.apply(s.objects)
	}
	s.applied = o.GetResourceVersion()
	return nil
}

// Replace implements cache.ReflectorStore.
func (s *smallStore[T]) Replace(list []any, resourceVersion string) error {
	objects := make(map[string]T, len(list))
	for _, obj := range list {
		o, ok := obj.(T)
		if !ok {
			return fmt.Errorf("expected a %T, got %T", o, obj)
		}
		objects[o.GetName()] = o
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if newer(s.applied, resourceVersion) {
		return nil
	}
	if s.applied == "" || !maps.EqualFunc(s.objects, objects, s.same) {
		s.apply(objects)
	}
	s.objects, s.applied = objects, resourceVersion
	return nil
}

// structObject is a pointer to a struct S that is an object.
type structObject[S any] interface {
	*S
	metav1.Object
}

// same reports whether two states of an object differ in nothing but the resourceVersion. Most states of a Tenant do,
// because each change of its ledger writes it.
func same[S any, T structObject[S]](a, b T) bool {
	if a == nil || b == nil {
		return a == b
	}
	copied := *b
	T(&copied).SetResourceVersion(a.GetResourceVersion())
	return reflect.DeepEqual(a, T(&copied))
}

// Resync implements cache.ReflectorStore. It has nothing to do.
func (*smallStore[T]) Resync() error { return nil }

// newer reports whether a is a later resourceVersion than b (KEP-5504). It is false if they can't be compared.
func newer(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order > 0
}

func applyTenants(view *index.View) func(map[string]*keysv1alpha1.Tenant) {
	return func(objects map[string]*keysv1alpha1.Tenant) {
		tenants := make(index.Tenants, len(objects))
		for _, object := range objects {
			if id, tenant, ok := index.TenantOf(object); ok {
				tenants.Add(id, tenant)
			}
		}
		view.SetTenants(tenants)
	}
}

func applyPolicies(view *index.View) func(map[string]*keysv1alpha1.AccessPolicy) {
	return func(objects map[string]*keysv1alpha1.AccessPolicy) {
		policies := make([]keysv1alpha1.AccessPolicy, 0, len(objects))
		for _, object := range objects {
			policies = append(policies, *object)
		}
		view.SetRoutes(access.Compile(policies))
	}
}
