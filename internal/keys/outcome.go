package keys

import (
	"errors"
	"net"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// MayBeDone reports whether a write that has failed may be in effect all the same: it reached the API server, or a
// proxy before it, and what came back, if anything, is no refusal.
func MayBeDone(err error) bool {
	if _, taken := errors.AsType[*ExistsError](err); taken {
		return false
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		code := status.Status().Code
		return code < http.StatusBadRequest || code == http.StatusRequestTimeout || code >= http.StatusInternalServerError
	}
	if operation, ok := errors.AsType[*net.OpError](err); ok && operation.Op == "dial" {
		return false
	}
	return true
}
