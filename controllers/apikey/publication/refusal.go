package publication

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/redact"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/status"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// foreignError reports that a Secret with the name that a key needs belongs to somebody else.
type foreignError struct {
	secret *corev1.Secret
	// predecessor reports whether it belongs to a deleted ApiKey of the same name, and will be garbage-collected.
	predecessor bool
}

// Error implements error.
func (e *foreignError) Error() string {
	if e.predecessor {
		return fmt.Sprintf("Secret %s still belongs to a deleted ApiKey of this name: "+
			"waiting for it to be collected.", e.secret.Name)
	}
	return fmt.Sprintf("Secret %s is there and does not belong to this key: "+
		"remove it, or set another name in spec.secret.name.", e.secret.Name)
}

func (e *foreignError) result() lifecycle.Result {
	if e.predecessor {
		return lifecycle.Result{
			Outcome:      status.Waiting(keysv1alpha1.ReasonAwaitingDeletion, e.Error()),
			RequeueAfter: predecessorInterval,
		}
	}
	return lifecycle.Result{
		Outcome:      status.Stalled(keysv1alpha1.ReasonSecretConflict, e.Error()),
		RequeueAfter: conflictInterval,
	}
}

// refusedError reports that the API server does not let the controller write a Secret.
type refusedError struct {
	name string
	err  error
}

// refusedOr returns a *refusedError if trying again cannot help, or if a policy or a webhook has refused, whatever the
// status is. Otherwise it returns the error itself.
func refusedOr(name string, err error) error {
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || redact.Denied(err) {
		return &refusedError{name: name, err: err}
	}
	return err
}

// Error implements error.
func (e *refusedError) Error() string {
	text := strings.TrimRight(redact.Message(e.err), ".")
	return fmt.Sprintf("The API server does not let the controller write Secret %s: %s.",
		e.name, printable.Excerpt(text, maxQuoted))
}

func (e *refusedError) Unwrap() error { return e.err }

// maxQuoted is how many characters of the API server's message a condition quotes.
const maxQuoted = 500

func (e *refusedError) result() lifecycle.Result {
	return lifecycle.Result{
		Outcome:      status.Stalled(keysv1alpha1.ReasonSecretRefused, e.Error()),
		RequeueAfter: conflictInterval,
	}
}
