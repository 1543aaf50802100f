package main

import (
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// slimmer takes off objects, before the cache keeps them, what no controller reads, and has those that are alike share their
// words: of very many keys most are in the same state, for the same reason, with the same message.
//
// The controllers write keys by patches of what has changed in status, so what is missing here stays what it is there.
type slimmer struct {
	mu    sync.Mutex
	words map[string]string
}

// mostWords bounds what is remembered to be shared. Past it, it is begun anew.
const mostWords = 10_000

func newSlimmer() *slimmer { return &slimmer{words: map[string]string{}} }

// slimKey implements toolscache.TransformFunc for ApiKeys.
func (s *slimmer) slimKey(object any) (any, error) {
	key, ok := object.(*keysv1alpha1.ApiKey)
	if !ok {
		return object, nil // A tombstone.
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key.ManagedFields = nil
	delete(key.Annotations, corev1.LastAppliedConfigAnnotation)
	if len(key.Annotations) == 0 {
		key.Annotations = nil
	}
	share(s, &key.Kind, &key.APIVersion, &key.Namespace, &key.Spec.DisplayName, &key.Status.TenantID)
	share(s, &key.Spec.Expiry)
	share(s, &key.Spec.State)
	for _, scopes := range [][]keysv1alpha1.Scope{key.Spec.Scopes, key.Status.Scopes} {
		for i := range scopes {
			share(s, &scopes[i])
		}
	}
	if slices.Equal(key.Spec.Scopes, key.Status.Scopes) {
		key.Status.Scopes = key.Spec.Scopes // What the cache has is only read.
	}
	key.Status.Credentials = fitted(key.Status.Credentials)
	key.Status.Conditions = fitted(key.Status.Conditions)
	for i := range key.Status.Conditions {
		condition := &key.Status.Conditions[i]
		share(s, &condition.Type, &condition.Reason, &condition.Message)
		share(s, &condition.Status)
	}
	return key, nil
}

// slimSecret does so for Secrets' metadata, of which the controller reads by name whose they are, and whether they have changed.
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

// controls is what OwnerReference.Controller points to.
var controls = true

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
