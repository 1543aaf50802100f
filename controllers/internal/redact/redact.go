// Package redact removes from the API server's errors what may quote a Secret. It is pure.
//
// An admission policy or a webhook that refuses a Secret may quote it, and so may the answer of a webhook that fails.
// Errors get into logs, conditions and events, which are also read by people who may not read Secrets.
package redact

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	// denials are the texts that the API server puts before the words of a policy or a webhook that refuses.
	denials = []string{"denied request", "denied the request"}
	// failure is the text that the API server puts before the answer of a webhook that fails.
	failure = regexp.MustCompile(`failed calling webhook "[^"]*"`)
	// quoteNothing are the reasons for which the API server itself has messages, none of which repeats the data of a
	// Secret.
	quoteNothing = []metav1.StatusReason{
		metav1.StatusReasonAlreadyExists, metav1.StatusReasonConflict, metav1.StatusReasonForbidden,
		metav1.StatusReasonInvalid, metav1.StatusReasonNotFound,
	}
)

// Error returns the error of a request that had or concerned a Secret, with a message that doesn't quote it. It wraps
// the original, so that its cause can still be found.
func Error(err error) error {
	if answer := apierrors.APIStatus(nil); !errors.As(err, &answer) {
		return err // Nobody who has seen the Secret has said anything.
	}
	return &redacted{err}
}

type redacted struct{ err error }

// Error implements error.
func (e *redacted) Error() string { return Message(e.err) }

// Unwrap returns the original error, whose own message is for nobody.
func (e *redacted) Unwrap() error { return e.err }

// Message returns what the API server has answered, without what may quote a Secret: of a policy or a webhook only its
// name.
func Message(err error) string {
	answer := apierrors.APIStatus(nil)
	if !errors.As(err, &answer) {
		return err.Error()
	}
	status := answer.Status()
	for _, verb := range denials {
		if who, _, ok := strings.Cut(status.Message, verb); ok {
			return who + verb
		}
	}
	if webhook := failure.FindString(status.Message); webhook != "" {
		return webhook
	}
	if slices.Contains(quoteNothing, status.Reason) {
		return status.Message
	}
	return fmt.Sprintf("the API server has answered with the status %d", status.Code)
}

// Denied reports whether a policy or a webhook has refused a request.
func Denied(err error) bool {
	answer := apierrors.APIStatus(nil)
	return errors.As(err, &answer) && slices.ContainsFunc(denials, func(denial string) bool {
		return strings.Contains(answer.Status().Message, denial)
	})
}
