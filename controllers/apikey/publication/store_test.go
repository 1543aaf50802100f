package publication

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestRefusalDoesNotQuotePolicies checks that the message of a policy or a webhook about a Secret is not repeated: it
// may have the token.
func TestRefusalDoesNotQuotePolicies(t *testing.T) {
	secrets := corev1.Resource("secrets")
	for text, want := range map[string]string{
		"exceeded quota: q, requested: count/secrets=1, used: count/secrets=0, limited: count/secrets=0"://
		"exceeded quota: q, requested: count/secrets=1",
		"ValidatingAdmissionPolicy 'p' with binding 'b' denied request: bnhjX2xpdmVf"://
		"ValidatingAdmissionPolicy 'p' with binding 'b' denied request.",
		`admission webhook "w.example.com" denied the request: bnhjX2xpdmVf`://
		`admission webhook "w.example.com" denied the request.`,
		strings.Repeat("x", 5000): "…",
	} {
		err := refusedOr("s", fmt.Errorf("creating Secret s: %w", apierrors.NewForbidden(secrets, "s", errors.New(text))))
		if got := err.Error(); !strings.Contains(got, want) || strings.Contains(got, "bnhj") || len(got) > 700 {
			t.Errorf("%.80s: %.700s", text, got)
		}
	}
	// Kyverno refuses with 400, and a webhook may with any status.
	for _, code := range []int32{400, 403, 409, 422, 500, 503} {
		err := refusedOr("s", fmt.Errorf("updating Secret s: %w", &apierrors.StatusError{ErrStatus: metav1.Status{
			Code: code, Message: `admission webhook "validate.kyverno.svc-fail" denied the request: bnhjX2xpdmVf`,
		}}))
		refused := (*refusedError)(nil)
		if !errors.As(err, &refused) || strings.Contains(err.Error(), "bnhj") || !strings.Contains(err.Error(), "kyverno") {
			t.Errorf("%d: %v", code, err)
		}
	}
	if err := refusedOr("s", apierrors.NewConflict(secrets, "s", nil)); !apierrors.IsConflict(err) {
		t.Errorf("a conflict is %v", err)
	}
	if err := refusedOr("s", apierrors.NewForbidden(secrets, "s", nil)); !apierrors.IsForbidden(err) {
		t.Error("its cause is lost")
	}
}
