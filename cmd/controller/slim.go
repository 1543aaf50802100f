package main

import (
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey"
)

// slimmer takes off objects, before the cache keeps them, what no controller reads, and has those that are alike share their
// words: of very many keys most are in the same state, for the same reason, with the same message.
//
// The controllers write keys by patches of what has changed in status, so what is missing here stays what it is there.
type slimmer struct {
	now func() time.Time

	mu    sync.Mutex
	words map[string]string
	// scopes are lists of them, by their words.
	scopes map[string][]keysv1alpha1.Scope
}

// mostWords bounds what is remembered to be shared. Past it, it is begun anew.
const mostWords = 10_000

func newSlimmer() *slimmer {
	return &slimmer{now: time.Now, words: map[string]string{}, scopes: map[string][]keysv1alpha1.Scope{}}
}

// slimKey implements toolscache.TransformFunc for ApiKeys.
func (s *slimmer) slimKey(object any) (any, error) {
	key, ok := object.(*keysv1alpha1.ApiKey)
	if !ok {
		return object, nil // A tombstone.
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slimMetadata(&key.ObjectMeta)
	share(s, &key.Kind, &key.APIVersion, &key.Namespace, &key.Spec.DisplayName, &key.Status.TenantID)
	share(s, &key.Spec.Expiry)
	share(s, &key.Spec.State)
	key.Spec.Scopes, key.Status.Scopes = s.scopesLike(key.Spec.Scopes), s.scopesLike(key.Status.Scopes)
	if slices.Equal(key.Spec.AllowedCIDRs, key.Status.AllowedCIDRs) {
		key.Status.AllowedCIDRs = key.Spec.AllowedCIDRs
	}
	if !apikey.UsedAhead(key, s.now()) { // The controller puts that right.
		key.Status.Usage, key.Status.LastUsedTime = nil, nil // Verifiers write that, and people read it.
	}
	key.Status.Credentials = fitted(key.Status.Credentials)
	key.Status.Conditions = fitted(key.Status.Conditions)
	sayOnce(key)
	for i := range key.Status.Conditions {
		condition := &key.Status.Conditions[i]
		share(s, &condition.Type, &condition.Reason, &condition.Message)
		share(s, &condition.Status)
	}
	return key, nil
}

// slimMetadata takes off what anybody may write on a key, of any length, and no controller reads. The canary's is what verifiers say.
func slimMetadata(meta *metav1.ObjectMeta) {
	meta.ManagedFields, meta.OwnerReferences, meta.Finalizers = nil, nil, nil
	if _, canary := meta.Labels[keysv1alpha1.CanaryLabel]; canary {
		delete(meta.Annotations, corev1.LastAppliedConfigAnnotation)
		return
	}
	rotateAt, ok := meta.Annotations[keysv1alpha1.RotateAtAnnotation]
	meta.Labels, meta.Annotations = nil, nil
	if ok {
		meta.Annotations = map[string]string{keysv1alpha1.RotateAtAnnotation: apikey.RotateRequest(rotateAt)}
	}
}

// sayOnce has a key keep once what is said twice in it. What the cache has is only read, so pointers may be to the same.
func sayOnce(key *keysv1alpha1.ApiKey) {
	status := &key.Status
	same(&status.SecretName, key.Name)
	if status.Binding != nil {
		same(&status.Binding.Name, key.Name)
	}
	digest := key.Spec.Digest
	if digest != nil {
		same(&digest.Prefix, status.Prefix)
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

// same has a text be another one that says the same.
func same(text *string, other string) {
	if *text == other {
		*text = other
	}
}

// scopesLike returns the first list of scopes that says the same.
func (s *slimmer) scopesLike(scopes []keysv1alpha1.Scope) []keysv1alpha1.Scope {
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
	if len(s.scopes) >= mostWords {
		clear(s.scopes)
	}
	for i := range scopes {
		share(s, &scopes[i])
	}
	s.scopes[words.String()] = scopes
	return scopes
}

// traceSecret keeps a trace of a Secret.
func (s *slimmer) traceSecret(object any) (any, error) {
	secret, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil // A tombstone, or a trace already.
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	share(s, &secret.Namespace)
	return traceOf(secret), nil
}

// slimSecret keeps less of a Secret's metadata where that has to be metadata: in a cache of several namespaces, which shows what it
// keeps only as what was asked for.
func (s *slimmer) slimSecret(object any) (any, error) {
	secret, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slim := &metav1.PartialObjectMetadata{TypeMeta: secret.TypeMeta}
	share(s, &slim.Kind, &slim.APIVersion, &secret.Namespace)
	slim.Namespace, slim.Name, slim.ResourceVersion, slim.DeletionTimestamp = secret.Namespace, secret.Name, secret.ResourceVersion, secret.DeletionTimestamp
	if owner := metav1.GetControllerOfNoCopy(secret); owner != nil {
		kept := metav1.OwnerReference{APIVersion: owner.APIVersion, Kind: owner.Kind, Name: owner.Name, Controller: &controls}
		share(s, &kept.APIVersion, &kept.Kind)
		if kept.Name == slim.Name {
			kept.Name = slim.Name // One text for both, which they mostly are.
		}
		slim.OwnerReferences = []metav1.OwnerReference{kept}
	}
	return slim, nil
}

// share has texts be the first of their like that there was.
func share[T ~string](s *slimmer, texts ...*T) {
	for _, text := range texts {
		first, known := s.words[string(*text)]
		if !known {
			if len(s.words) >= mostWords {
				clear(s.words)
			}
			first = string(*text)
			s.words[first] = first
		}
		*text = T(first)
	}
}

// fitted returns a slice that has no room to spare.
func fitted[T any](slice []T) []T {
	if len(slice) == cap(slice) {
		return slice
	}
	fit := make([]T, len(slice))
	copy(fit, slice)
	return fit
}
