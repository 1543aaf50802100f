package main

import (
	"testing"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// TestSlimKey checks that a key keeps all that controllers read, and that two that are alike share their words.
func TestSlimKey(t *testing.T) {
	slim := newSlimmer()
	var kept [2]*keysv1alpha1.ApiKey
	for i := range kept {
		key := fatKey()
		want := key.DeepCopy()
		want.ManagedFields, want.Annotations = nil, map[string]string{keysv1alpha1.RotateAtAnnotation: "now"}
		object, err := slim.slimKey(key)
		if err != nil {
			t.Fatal(err)
		}
		kept[i] = object.(*keysv1alpha1.ApiKey)
		if !equality.Semantic.DeepEqual(kept[i], want) {
			t.Errorf("kept %+v, want %+v", kept[i], want)
		}
	}
	first, second := kept[0].Status.Conditions[0].Message, kept[1].Status.Conditions[0].Message
	if unsafe.StringData(first) != unsafe.StringData(second) {
		t.Error("two keys have a message of their own each")
	}
	if spare := cap(kept[0].Status.Conditions) - len(kept[0].Status.Conditions); spare != 0 {
		t.Errorf("there is room for %d more conditions", spare)
	}
}

// fatKey returns a key as a decoder makes it: nothing of it is shared.
func fatKey() *keysv1alpha1.ApiKey {
	text := func(s string) string { return string([]byte(s)) }
	return &keysv1alpha1.ApiKey{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: text("acme"), Name: "key", ResourceVersion: "7",
			Annotations: map[string]string{
				corev1.LastAppliedConfigAnnotation: "{}", keysv1alpha1.RotateAtAnnotation: "now",
			},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		},
		Spec: keysv1alpha1.ApiKeySpec{Scopes: []keysv1alpha1.Scope{"products:read"}, Expiry: "90d", State: keysv1alpha1.ApiKeyActive},
		Status: keysv1alpha1.ApiKeyStatus{
			TenantID:    text("3714240b-2e06-4c35-8856-ccc1c096323e"),
			Credentials: append(make([]keysv1alpha1.Credential, 0, 4), keysv1alpha1.Credential{ID: "7Hk2PqZx"}),
			Conditions: append(make([]metav1.Condition, 0, 8), metav1.Condition{
				Type: text("Ready"), Status: metav1.ConditionTrue, Reason: text("Ready"), Message: text("The key works."),
			}),
		},
	}
}

// TestSlimSecret checks that of a Secret's metadata there is kept which key's it is and in which version, and no more.
func TestSlimSecret(t *testing.T) {
	owner := metav1.OwnerReference{APIVersion: "keys.nexuscommerce.io/v1alpha1", Kind: "ApiKey", Name: "key", UID: "u", Controller: new(true)}
	object, err := newSlimmer().slimSecret(&metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "acme", Name: "key", UID: "s", ResourceVersion: "7", Labels: map[string]string{"a": "b"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Other", Name: "other"}, owner}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "acme", Name: "key", ResourceVersion: "7",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: owner.APIVersion, Kind: owner.Kind, Name: owner.Name, Controller: new(true)}},
		},
	}
	if !equality.Semantic.DeepEqual(object, want) {
		t.Errorf("kept %+v, want %+v", object, want)
	}
}
