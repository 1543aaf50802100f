package keystate_test

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

const day = 24 * time.Hour

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func at(after time.Duration) *metav1.Time { return &metav1.Time{Time: now.Add(after)} }

// keyChange changes a key.
type keyChange = func(*keysv1alpha1.ApiKey)

// working returns an active key as the controller leaves it, issued ten days ago for ninety days.
func working(changes ...keyChange) *keysv1alpha1.ApiKey {
	key := &keysv1alpha1.ApiKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "warehouse", UID: "1", Generation: 3,
			CreationTimestamp: *at(-10 * day)},
		Spec: keysv1alpha1.ApiKeySpec{
			Scopes: []keysv1alpha1.Scope{"products:read", "orders:read"}, Expiry: "90d", State: keysv1alpha1.ApiKeyActive,
			AllowedCIDRs: []keysv1alpha1.CIDR{"192.0.2.0/25"},
		},
		Status: keysv1alpha1.ApiKeyStatus{
			ObservedGeneration: 3, TenantID: "3714240b-2e06-4c35-8856-ccc1c096323e",
			Scopes:       []keysv1alpha1.Scope{"products:read"},
			AllowedCIDRs: []keysv1alpha1.CIDR{"192.0.2.0/24"}, IssuedTime: at(-10 * day), ExpiresTime: at(80 * day),
			Credentials: []keysv1alpha1.Credential{{ID: "7Hk2PqZx", Digest: "sha256:" + strings.Repeat("a", 64), Root: 1,
				IssuedTime: *at(-10 * day)}},
			Conditions: []metav1.Condition{condition("Ready", "True", "Ready"), condition("Expired", "False", "NotExpired")},
		},
	}
	for _, change := range changes {
		change(key)
	}
	return key
}

func condition(conditionType string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: conditionType, Status: status, Reason: reason}
}

// conditions replaces the conditions of a key.
func conditions(all ...metav1.Condition) keyChange {
	return func(k *keysv1alpha1.ApiKey) { k.Status.Conditions = all }
}

func inState(state keysv1alpha1.ApiKeyState) keyChange {
	return func(k *keysv1alpha1.ApiKey) { k.Spec.State = state }
}

func deleting(k *keysv1alpha1.ApiKey) { k.DeletionTimestamp = at(0) }

// unchanged leaves a key as the controller does.
func unchanged(*keysv1alpha1.ApiKey) {}

func allOf(changes ...keyChange) keyChange {
	return func(k *keysv1alpha1.ApiKey) {
		for _, change := range changes {
			change(k)
		}
	}
}
