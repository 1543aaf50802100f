package feed

import (
	"fmt"
	"maps"
	"reflect"
	"sync"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/tools/cache"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
	"github.com/nexuscommerce/apikey-operator/internal/usage"
)

// credentialStore takes ApiKeys straight from the reflector into the index: what has been observed has been applied.
type credentialStore struct {
	mu          sync.Mutex
	credentials *index.Credentials
	// version is the resourceVersion up to which everything has been applied.
	version string
	// observe is called with the canary, after all that came before it has been applied.
	observe func(canary *keysv1alpha1.ApiKey)
	synced  func()
	// rollbackDetected is called when what the API server shows is older than what it has shown before.
	rollbackDetected func(sign string)
	// awaited is called when something has been applied that the controller waits for.
	awaited func()
	// touched are, while an audit is under way, the names of what has been applied since it began.
	touched map[string]struct{}
	// replaced says that everything has been.
	replaced bool
	// usage, if not nil, is told of every key and notes its uses.
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

// listedName is a key of a streamed list that has been applied: its name.
type listedName string

// Transformer implements cache.TransformingStore. A reflector collects a streamed list before it is handed over, transformed,
// which of very many keys would take several times what the index does. So each is applied as it comes, and its name is all
// that is collected. The version is that of before until the list is complete; the canary speaks only then. So does, where this is
// not the first list, a key that may do more than was known: what comes later in the list may show that etcd was restored.
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

// Replace implements cache.ReflectorStore. Readers see the difference key by key, never an empty index.
func (s *credentialStore) Replace(list []any, resourceVersion string) error {
	s.mu.Lock()
	if newer(s.version, resourceVersion) {
		s.rollbackDetected("a list at resourceVersion " + resourceVersion + " after one at " + s.version)
	}
	for _, obj := range list { // Before any of them can let a request pass.
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

// Resync implements cache.ReflectorStore. There is nothing to do again.
func (*credentialStore) Resync() error { return nil }

func (s *credentialStore) put(key *keysv1alpha1.ApiKey) {
	claims := index.ClaimsOf(key)
	s.detectRollback(claims)
	s.set(objectName(key), s.assignUsageSlots(key, claims))
}

// grantsMore says whether a credential among them is unknown, or was refused and isn't any more.
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

// detectRollback looks for a key that was revoked and isn't any more. The API server lets that happen to nobody: another state of
// etcd has taken the place of the one that it was in.
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

// assignUsageSlots has the uses of a key's credentials be noted.
func (s *credentialStore) assignUsageSlots(key *keysv1alpha1.ApiKey, claims []*index.Claim) []*index.Claim {
	if s.usage != nil {
		meter := s.usage.Apply(key)
		for _, claim := range claims {
			claim.UsageSlot = meter(claim.CredentialID)
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

// compact moves together what is known of keys.
func (s *credentialStore) compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credentials.Compact()
	if s.usage != nil {
		s.usage.Compact()
	}
}

// track begins to remember what is applied, for mend.
func (s *credentialStore) track() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched, s.replaced = map[string]struct{}{}, false
}

func (s *credentialStore) untrack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched = nil
}

// matches says whether the index holds of a key what it should.
func (s *credentialStore) matches(key *keysv1alpha1.ApiKey) bool {
	claims := index.ClaimsOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.credentials.Holds(objectName(key), claims)
}

// names returns the names of all keys of which the index holds something.
func (s *credentialStore) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.credentials.Objects()
}

// repair has the index hold of a key what it should, or nothing where the key is nil, and says whether it did not. What has
// been applied since track is left alone: it is newer.
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

// isAwaited says whether the controller waits for verifiers to have applied this state of a key: a credential that is not
// published, or a revocation of which it has not said anything yet. What it says first is that it waits, since a state before
// that; a controller that is new since then learns from the next proof of freshness.
func isAwaited(key *keysv1alpha1.ApiKey) bool {
	if keystate.Revoked(key) {
		return apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionRevocationEffective) == nil
	}
	credentials := key.Status.Credentials
	return len(credentials) > 0 && credentials[len(credentials)-1].PublishedTime == nil
}

// fewObject is what a smallStore keeps: a pointer to a kind of which there are few.
type fewObject interface {
	*keysv1alpha1.Tenant | *keysv1alpha1.AccessPolicy
	GetName() string
	GetResourceVersion() string
	SetResourceVersion(version string)
}

// smallStore keeps all objects of a kind of which there are few, fed by a watch and by consistent lists side by side. The
// two overtake one another, so it never goes back: what is older than what has been applied already is dropped. Each is
// complete up to its own resourceVersion, so nothing is lost by that.
type smallStore[T fewObject] struct {
	mu      sync.Mutex
	objects map[string]T
	applied string
	apply   func(map[string]T)
}

func newSmallStore[T fewObject](apply func(map[string]T)) *smallStore[T] {
	return &smallStore[T]{objects: map[string]T{}, apply: apply}
}

// Add implements cache.ReflectorStore.
func (s *smallStore[T]) Add(obj any) error {
	return s.event(obj, func(o T) (changed bool) {
		changed = !same(s.objects[o.GetName()], o)
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
	if s.applied == "" || !maps.EqualFunc(s.objects, objects, same[T]) {
		s.apply(objects)
	}
	s.objects, s.applied = objects, resourceVersion
	return nil
}

// same says whether two states of an object differ in nothing but the resourceVersion. Most of a Tenant's do: whoever takes a place
// in its ledger, or gives one back, writes it.
func same[T fewObject](a, b T) bool {
	if a == nil || b == nil {
		return a == b
	}
	version := b.GetResourceVersion()
	defer b.SetResourceVersion(version)
	b.SetResourceVersion(a.GetResourceVersion())
	return reflect.DeepEqual(a, b)
}

// Resync implements cache.ReflectorStore. There is nothing to do again.
func (*smallStore[T]) Resync() error { return nil }

// newer says whether a is a later resourceVersion than b (KEP-5504). What can't be compared is not.
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
