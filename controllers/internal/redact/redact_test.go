package redact_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nexuscommerce/apikey-operator/controllers/internal/redact"
)

// secret stands for what nobody may read.
const secret = "bnhjX2xpdmVf"

// answered returns the error for an answer of the API server.
func answered(code int32, reason metav1.StatusReason, message string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Reason: reason, Message: message}}
}

// TestError checks that errors say who has refused a Secret, and don't quote it.
func TestError(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{
			"ValidatingAdmissionPolicy 'p' with binding 'b' denied request: " + secret,
			"ValidatingAdmissionPolicy 'p' with binding 'b' denied request",
		},
		{
			`admission webhook "w.example.com" denied the request: ` + secret,
			`admission webhook "w.example.com" denied the request`,
		},
		{
			`admission webhook "w" denied the request: failed calling webhook "` + secret + `"`,
			`admission webhook "w" denied the request`,
		},
		{
			`failed calling webhook "w": failed to call webhook: an error on the server ("` + secret + `") has prevented`,
			`failed calling webhook "w"`,
		},
		{"what a webhook made of it can't be read: " + secret, "the API server has answered with the status "},
	} {
		text, want := c.text, c.want
		for _, code := range []int32{400, 403, 404, 409, 422, 429, 500, 503, 504} {
			reasons := []metav1.StatusReason{metav1.StatusReasonUnknown, metav1.StatusReasonInternalError, "Other"}
			if !strings.HasPrefix(want, "the API server") {
				reasons = append(reasons, metav1.StatusReasonForbidden, metav1.StatusReasonInvalid, metav1.StatusReasonConflict)
			}
			for _, reason := range reasons {
				err := fmt.Errorf("creating Secret s: %w", redact.Error(answered(code, reason, text)))
				if got := err.Error(); strings.Contains(got, secret) || !strings.HasPrefix(got, "creating Secret s: "+want) {
					t.Errorf("%d %s, %s: %s", code, reason, text, got)
				}
			}
		}
	}
}

// TestErrorKeepsTheRest checks what stays of errors: what the API server itself says, and the cause.
func TestErrorKeepsTheRest(t *testing.T) {
	secrets := corev1.Resource("secrets")
	quota := apierrors.NewForbidden(secrets, "s", errors.New("exceeded quota: q, used: count/secrets=1"))
	if got := redact.Error(quota); got.Error() != quota.Error() || !apierrors.IsForbidden(got) {
		t.Errorf("a quota: %v", got)
	}
	conflict := apierrors.NewConflict(secrets, "s", errors.New("the object has been modified"))
	if got := redact.Error(conflict); got.Error() != conflict.Error() || !apierrors.IsConflict(got) {
		t.Errorf("a conflict: %v", got)
	}
	if got := redact.Error(apierrors.NewNotFound(secrets, "s")); !apierrors.IsNotFound(got) {
		t.Errorf("nothing there: %v", got)
	}
	unreachable := errors.New("dial tcp 10.0.0.1:443: connect: connection refused")
	if got := redact.Error(unreachable); !errors.Is(got, unreachable) || got.Error() != unreachable.Error() {
		t.Errorf("no API server: %v", got)
	}
	if redact.Error(nil) != nil {
		t.Error("no error is one")
	}
}

// TestDenied checks that policies and webhooks are told from everything else.
func TestDenied(t *testing.T) {
	for text, want := range map[string]bool{
		"ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no":      true,
		`admission webhook "w" denied the request without explanation`:           true,
		`failed calling webhook "w": failed to call webhook: connection refused`: false,
		"exceeded quota: q": false,
	} {
		if got := redact.Denied(fmt.Errorf("creating: %w", answered(500, "", text))); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
	if redact.Denied(nil) || redact.Denied(errors.New("denied the request")) {
		t.Error("what is no answer of the API server's counts as a denial")
	}
}
