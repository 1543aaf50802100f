package feed

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// TestIsAwaited checks which states of a key are acknowledged. Each acknowledgement is a write by every verifier, so
// there must be one for each state that the controller waits for, and none for what the controller writes about that.
func TestIsAwaited(t *testing.T) {
	published := metav1.NewTime(time.Now())
	credentials := func(times ...*metav1.Time) keysv1alpha1.ApiKeyStatus {
		var status keysv1alpha1.ApiKeyStatus
		for _, at := range times {
			status.Credentials = append(status.Credentials, keysv1alpha1.Credential{PublishedTime: at})
		}
		return status
	}
	effective := func(value metav1.ConditionStatus) keysv1alpha1.ApiKeyStatus {
		status := credentials(&published)
		status.Conditions = []metav1.Condition{{Type: keysv1alpha1.ConditionRevocationEffective, Status: value}}
		return status
	}
	for name, test := range map[string]struct {
		state  keysv1alpha1.ApiKeyState
		status keysv1alpha1.ApiKeyStatus
		want   bool
	}{
		"nothing announced":             {keysv1alpha1.ApiKeyActive, credentials(), false},
		"announced":                     {keysv1alpha1.ApiKeyActive, credentials(nil), true},
		"published":                     {keysv1alpha1.ApiKeyActive, credentials(&published), false},
		"a rotation announced":          {keysv1alpha1.ApiKeyActive, credentials(&published, nil), true},
		"a rotation published":          {keysv1alpha1.ApiKeyActive, credentials(&published, &published), false},
		"suspended":                     {keysv1alpha1.ApiKeySuspended, credentials(&published), false},
		"revoked":                       {keysv1alpha1.ApiKeyRevoked, credentials(&published), true},
		"revoked before it was minted":  {keysv1alpha1.ApiKeyRevoked, credentials(), true},
		"revoked, and being waited for": {keysv1alpha1.ApiKeyRevoked, effective(metav1.ConditionFalse), false},
		"revoked everywhere":            {keysv1alpha1.ApiKeyRevoked, effective(metav1.ConditionTrue), false},
	} {
		t.Run(name, func(t *testing.T) {
			key := &keysv1alpha1.ApiKey{Spec: keysv1alpha1.ApiKeySpec{State: test.state}, Status: test.status}
			if got := isAwaited(key); got != test.want {
				t.Errorf("isAwaited is %v, want %v", got, test.want)
			}
		})
	}
}
