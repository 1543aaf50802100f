package keycache

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/credentials"
)

// later is a clock after every time in these tests.
var later = clocktesting.NewFakePassiveClock(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))

// TestKeyTransform checks that a key keeps all that controllers read, and that two similar keys share their strings.
func TestKeyTransform(t *testing.T) {
	transform := newTransforms(later)
	var kept [2]*keysv1alpha1.ApiKey
	for i := range kept {
		key := fatKey()
		want := key.DeepCopy()
		want.ManagedFields, want.Annotations = nil, map[string]string{keysv1alpha1.RotateAtAnnotation: "now"}
		want.Labels, want.Finalizers, want.OwnerReferences = nil, nil, nil
		want.Status.Usage, want.Status.LastUsedTime = nil, nil
		object, err := transform.key(key)
		if err != nil {
			t.Fatal(err)
		}
		kept[i] = object.(*keysv1alpha1.ApiKey)
		if !equality.Semantic.DeepEqual(kept[i], want) {
			t.Errorf("kept %+v, want %+v", kept[i], want)
		}
	}
	first, second := &kept[0].Status, &kept[1].Status
	if unsafe.StringData(first.Conditions[0].Message) != unsafe.StringData(second.Conditions[0].Message) {
		t.Error("two keys do not share their message")
	}
	if &first.Scopes[0] != &second.Scopes[0] || &first.Scopes[0] != &kept[0].Spec.Scopes[0] {
		t.Error("two keys do not share their scopes")
	}
	digest := &first.Credentials[0].Digest
	if unsafe.StringData(kept[0].Spec.Digest.SHA256) != unsafe.StringData((*digest)[len("sha256:"):]) {
		t.Error("a key keeps its digest twice")
	}
	if spare := cap(kept[0].Status.Conditions) - len(kept[0].Status.Conditions); spare != 0 {
		t.Errorf("there is room for %d more conditions", spare)
	}
}

// TestKeyTransformDropsLongAnnotations checks that the cache does not keep what anybody who may edit keys can write on
// them, which is up to 256 KiB each: a few thousand such keys would take all of the controller's memory (S14).
func TestKeyTransformDropsLongAnnotations(t *testing.T) {
	key := fatKey()
	long := strings.Repeat("x", 200<<10)
	key.Annotations = map[string]string{keysv1alpha1.RotateAtAnnotation: long}
	if _, err := newTransforms(later).key(key); err != nil {
		t.Fatal(err)
	}
	kept := key.Annotations[keysv1alpha1.RotateAtAnnotation]
	if len(kept) > 100 || kept != credentials.RotateRequest(long) || kept != credentials.RotateRequest(kept) {
		t.Errorf("kept %.100s", kept)
	}
	canary := fatKey()
	canary.Labels[keysv1alpha1.CanaryLabel] = ""
	canary.Annotations = map[string]string{
		corev1.LastAppliedConfigAnnotation: "{}", keysv1alpha1.ProbeAnnotationPrefix + "a": "x",
	}
	if _, err := newTransforms(later).key(canary); err != nil || len(canary.Annotations) != 1 || len(canary.Labels) != 2 {
		t.Errorf("the canary keeps %v, %v, %v", canary.Annotations, canary.Labels, err)
	}
}

// TestKeyTransformUsedAhead checks that a use in the future is kept, so that the controller can correct it.
func TestKeyTransformUsedAhead(t *testing.T) {
	key := fatKey()
	transform := newTransforms(clocktesting.NewFakePassiveClock(key.Status.LastUsedTime.Add(-time.Hour)))
	object, err := transform.key(key.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	if kept := object.(*keysv1alpha1.ApiKey).Status; kept.LastUsedTime == nil || len(kept.Usage) != len(key.Status.Usage) {
		t.Errorf("kept %v and %v", kept.LastUsedTime, kept.Usage)
	}
}

// fatKey returns a key as a decoder makes it: it shares no string.
func fatKey() *keysv1alpha1.ApiKey {
	text := func(s string) string { return string([]byte(s)) }
	issued := metav1.NewTime(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	return &keysv1alpha1.ApiKey{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: text("acme"), Name: text("key"), ResourceVersion: "7",
			Annotations: map[string]string{
				corev1.LastAppliedConfigAnnotation: "{}", keysv1alpha1.RotateAtAnnotation: "now",
				"example.com/note": strings.Repeat("x", 200<<10),
			},
			Labels:          map[string]string{"example.com/label": "x"},
			Finalizers:      []string{"example.com/f"},
			OwnerReferences: []metav1.OwnerReference{{Name: "x"}},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		},
		Spec: keysv1alpha1.ApiKeySpec{
			Scopes: []keysv1alpha1.Scope{"products:read"}, Expiry: "90d", State: keysv1alpha1.ApiKeyActive,
			Digest: &keysv1alpha1.TokenDigest{SHA256: strings.Repeat("1", 64), Prefix: text("nxc_live_7Hk2PqZx")},
		},
		Status: keysv1alpha1.ApiKeyStatus{
			TenantID: text("3714240b-2e06-4c35-8856-ccc1c096323e"), Prefix: text("nxc_live_7Hk2PqZx"),
			Scopes:     []keysv1alpha1.Scope{"products:read"},
			SecretName: text("key"), Binding: &keysv1alpha1.Binding{Name: text("key")}, IssuedTime: &issued,
			Credentials: append(make([]keysv1alpha1.Credential, 0, 4), keysv1alpha1.Credential{
				ID: text("7Hk2PqZx"), Digest: "sha256:" + strings.Repeat("1", 64), PublishedTime: issued.DeepCopy(),
			}),
			Usage: []keysv1alpha1.CredentialUsage{{ID: "7Hk2PqZx"}}, LastUsedTime: &issued,
			Conditions: append(make([]metav1.Condition, 0, 8), metav1.Condition{
				Type: text("Ready"), Status: metav1.ConditionTrue, Reason: text("Ready"), Message: text("The key works."),
			}),
		},
	}
}

// TestSecretMetadata checks that the cache keeps the owner and the version of a Secret, and nothing else.
func TestSecretMetadata(t *testing.T) {
	owner := metav1.OwnerReference{
		APIVersion: "keys.nexuscommerce.io/v1alpha1", Kind: "ApiKey", Name: "key", UID: "u", Controller: new(true),
	}
	object, err := newTransforms(later).secretMetadata(&metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "acme", Name: "key", UID: "s", ResourceVersion: "7", Labels: map[string]string{"a": "b"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Other", Name: "other"}, owner},
			ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "acme", Name: "key", ResourceVersion: "7",
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: owner.APIVersion, Kind: owner.Kind, Name: owner.Name, Controller: new(true),
			}},
		},
	}
	if !equality.Semantic.DeepEqual(object, want) {
		t.Errorf("kept %+v, want %+v", object, want)
	}
}

// TestSecretStub checks that a stub has all that the controller reads of a Secret, as an object of the cache and by
// name.
func TestSecretStub(t *testing.T) {
	owner := metav1.OwnerReference{
		APIVersion: "keys.nexuscommerce.io/v1alpha1", Kind: "ApiKey", Name: "key", UID: "u", Controller: new(true),
	}
	for name, test := range map[string]struct {
		owners []metav1.OwnerReference
		want   string
	}{
		"a key's":                {[]metav1.OwnerReference{{Kind: "Other", Name: "other"}, owner}, "key"},
		"nobody's":               {nil, ""},
		"somebody else's":        {controlledBy("v1", "Pod"), ""},
		"another group's ApiKey": {controlledBy("other/v1", "ApiKey"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			transform := newTransforms(later)
			kept, err := transform.secretStub(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
				Namespace: "acme", Name: "token", ResourceVersion: "7",
				Labels: map[string]string{"a": "b"}, OwnerReferences: test.owners,
			}})
			if err != nil {
				t.Fatal(err)
			}
			if again, err := transform.secretStub(kept); err != nil || again != kept {
				t.Errorf("a stub becomes %v, %v", again, err)
			}
			store := toolscache.NewStore(toolscache.MetaNamespaceKeyFunc)
			if err := store.Add(kept); err != nil {
				t.Fatal(err)
			}
			read, got := SecretStubsOf(store), &metav1.PartialObjectMetadata{}
			if err := read.Get(t.Context(), client.ObjectKey{Namespace: "acme", Name: "token"}, got); err != nil {
				t.Fatal(err)
			}
			whose := ""
			if of := OwnerOf(kept.(client.Object)); of != nil {
				whose = of.Name
			}
			if got.ResourceVersion != "7" || got.Namespace != "acme" || got.Name != "token" || whose != test.want {
				t.Errorf("kept %+v of key %q, want key %q", got, whose, test.want)
			}
			err = read.Get(t.Context(), client.ObjectKey{Namespace: "acme", Name: "other"}, got)
			if !apierrors.IsNotFound(err) {
				t.Errorf("a Secret that isn't there: %v", err)
			}
		})
	}
}

func controlledBy(apiVersion, kind string) []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: "key", Controller: new(true)}}
}
