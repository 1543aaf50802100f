package keycache

import (
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/credentials"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/usage"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// transforms remove from objects, before the cache keeps them, what no controller reads, and intern their strings: of
// very many keys most are in the same state, for the same reason, with the same message.
//
// The controllers write keys by patches of what has changed in status, so what is missing here stays as it is in the
// cluster.
type transforms struct {
	clock clock.PassiveClock

	mu    sync.Mutex
	words map[string]string
	// scopes maps the words of each list of scopes to the list.
	scopes map[string][]keysv1alpha1.Scope
}

// maxInterned limits the interned strings. Beyond it, they are forgotten and interned again.
const maxInterned = 10_000

func newTransforms(clk clock.PassiveClock) *transforms {
	return &transforms{clock: clk, words: map[string]string{}, scopes: map[string][]keysv1alpha1.Scope{}}
}

// key is the toolscache.TransformFunc of ApiKeys.
func (s *transforms) key(object any) (any, error) {
	key, ok := object.(*keysv1alpha1.ApiKey)
	if !ok {
		return object, nil // A tombstone.
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reduceMetadata(key)
	intern(s, &key.Kind, &key.APIVersion, &key.Namespace, &key.Spec.DisplayName, &key.Status.TenantID)
	intern(s, &key.Spec.Expiry)
	intern(s, &key.Spec.State)
	key.Spec.Scopes, key.Status.Scopes = s.internScopes(key.Spec.Scopes), s.internScopes(key.Status.Scopes)
	if slices.Equal(key.Spec.AllowedCIDRs, key.Status.AllowedCIDRs) {
		key.Status.AllowedCIDRs = key.Spec.AllowedCIDRs
	}
	if !usage.Ahead(key, s.clock.Now()) { // The controller only reads what it has to correct.
		key.Status.Usage, key.Status.LastUsedTime = nil, nil
	}
	key.Status.Credentials = fitted(key.Status.Credentials)
	key.Status.Conditions = fitted(key.Status.Conditions)
	internRepeated(key)
	for i := range key.Status.Conditions {
		condition := &key.Status.Conditions[i]
		intern(s, &condition.Type, &condition.Reason, &condition.Message)
		intern(s, &condition.Status)
	}
	return key, nil
}

// reduceMetadata removes what users may write on a key, at any length, and no controller reads. The canary keeps what
// verifiers write on it.
func reduceMetadata(key *keysv1alpha1.ApiKey) {
	key.ManagedFields, key.OwnerReferences, key.Finalizers = nil, nil, nil
	if keystate.IsCanary(key) {
		delete(key.Annotations, corev1.LastAppliedConfigAnnotation)
		return
	}
	rotateAt, ok := key.Annotations[keysv1alpha1.RotateAtAnnotation]
	key.Labels, key.Annotations = nil, nil
	if ok {
		key.Annotations = map[string]string{keysv1alpha1.RotateAtAnnotation: credentials.RotateRequest(rotateAt)}
	}
}

// internRepeated makes the fields of a key that have the same value share it. What the cache has is only read, so
// pointers may be shared too.
func internRepeated(key *keysv1alpha1.ApiKey) {
	status := &key.Status
	internAs(&status.SecretName, key.Name)
	if status.Binding != nil {
		internAs(&status.Binding.Name, key.Name)
	}
	digest := key.Spec.Digest
	if digest != nil {
		internAs(&digest.Prefix, status.Prefix)
	}
	for i := range status.Credentials {
		credential := &status.Credentials[i]
		if strings.HasSuffix(status.Prefix, credential.ID) {
			credential.ID = status.Prefix[len(status.Prefix)-len(credential.ID):]
		}
		if digest != nil && strings.HasSuffix(credential.Digest, digest.SHA256) {
			digest.SHA256 = credential.Digest[len(credential.Digest)-len(digest.SHA256):]
		}
		if credential.PublishedTime.Equal(status.IssuedTime) {
			credential.PublishedTime = status.IssuedTime
		}
	}
}

// internAs makes a text share its memory with another, if they are equal.
func internAs(text *string, other string) {
	if *text == other {
		*text = other
	}
}

// internScopes returns the first list of scopes with the same value.
func (s *transforms) internScopes(scopes []keysv1alpha1.Scope) []keysv1alpha1.Scope {
	if len(scopes) == 0 {
		return scopes
	}
	var words strings.Builder
	for _, scope := range scopes {
		words.WriteString(string(scope))
		words.WriteByte(' ') // In no scope.
	}
	if first, known := s.scopes[words.String()]; known {
		return first
	}
	if len(s.scopes) >= maxInterned {
		clear(s.scopes)
	}
	for i := range scopes {
		intern(s, &scopes[i])
	}
	s.scopes[words.String()] = scopes
	return scopes
}

// secretStub is the toolscache.TransformFunc of Secrets in a cache of all namespaces.
func (s *transforms) secretStub(object any) (any, error) {
	secret, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil // A tombstone, or a stub already.
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	intern(s, &secret.Namespace)
	return StubOf(secret), nil
}

// secretMetadata is the toolscache.TransformFunc of Secrets in a cache of several namespaces, which has to keep them as
// the type that readers ask for.
func (s *transforms) secretMetadata(object any) (any, error) {
	secret, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	reduced := &metav1.PartialObjectMetadata{TypeMeta: secret.TypeMeta}
	intern(s, &reduced.Kind, &reduced.APIVersion, &secret.Namespace)
	reduced.Namespace, reduced.Name = secret.Namespace, secret.Name
	reduced.ResourceVersion, reduced.DeletionTimestamp = secret.ResourceVersion, secret.DeletionTimestamp
	if owner := metav1.GetControllerOfNoCopy(secret); owner != nil {
		kept := metav1.OwnerReference{
			APIVersion: owner.APIVersion, Kind: owner.Kind, Name: owner.Name, Controller: &controls,
		}
		intern(s, &kept.APIVersion, &kept.Kind)
		if kept.Name == reduced.Name {
			kept.Name = reduced.Name // They share the string, because they are mostly equal.
		}
		reduced.OwnerReferences = []metav1.OwnerReference{kept}
	}
	return reduced, nil
}

// intern makes texts share their memory with the first equal one.
func intern[T ~string](s *transforms, texts ...*T) {
	for _, text := range texts {
		first, known := s.words[string(*text)]
		if !known {
			if len(s.words) >= maxInterned {
				clear(s.words)
			}
			first = string(*text)
			s.words[first] = first
		}
		*text = T(first)
	}
}

// fitted returns a slice without spare capacity.
func fitted[T any](slice []T) []T {
	if len(slice) == cap(slice) {
		return slice
	}
	fit := make([]T, len(slice))
	copy(fit, slice)
	return fit
}
