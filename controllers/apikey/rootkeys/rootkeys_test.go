package rootkeys

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// quoting is an API server without root keys. It refuses to create one, and quotes it, as a policy or a webhook may.
type quoting struct{ client.Client }

func (quoting) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

func (quoting) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	secret, ok := object.(*corev1.Secret)
	if !ok {
		return nil
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Code: 403, Reason: metav1.StatusReasonForbidden,
		Message: "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: " +
			base64.StdEncoding.EncodeToString(secret.Data[rootDataKey]),
	}}
}

// TestARefusedRootKeyIsNotQuoted checks that the error for a root key that is refused names the policy and doesn't have
// the key: the error is logged.
func TestARefusedRootKeyIsNotQuoted(t *testing.T) {
	raw := bytes.Repeat([]byte("k"), 32)
	s := New(quoting{}, quoting{}, quoting{}, "apikey-system")
	s.random = bytes.NewReader(raw)
	_, _, err := s.Newest(t.Context())
	if err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'p'") || !apierrors.IsForbidden(err) {
		t.Errorf("no such refusal: %v", err)
	}
	if err != nil && strings.Contains(err.Error(), base64.StdEncoding.EncodeToString(raw)) {
		t.Error("the error has the root key")
	}
}
