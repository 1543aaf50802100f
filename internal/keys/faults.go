package keys

import (
	"context"
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// Fault is what went wrong between a person and the API server.
type Fault int

// Faults.
const (
	// FaultUnreachable means that the API server did not answer, or that something on this side went wrong.
	FaultUnreachable Fault = iota
	// FaultStuck means that a key needs a person before it comes to where it is waited for.
	FaultStuck
	// FaultNoTenant means that a namespace has no tenant, or several.
	FaultNoTenant
	// FaultExists means that there is another key of the name.
	FaultExists
	// FaultSlow means that what was waited for did not come in time.
	FaultSlow
	// FaultUnauthenticated means that the API server does not know who asks.
	FaultUnauthenticated
	// FaultPolicy means that an admission policy refuses.
	FaultPolicy
	// FaultForbidden means that the person has no right to do that.
	FaultForbidden
	// FaultInvalid means that what was asked for breaks a rule of the kind.
	FaultInvalid
	// FaultNotInstalled means that the API server has no such kind.
	FaultNotInstalled
	// FaultNotFound means that there is no such object.
	FaultNotFound
	// FaultConflict means that somebody else has changed the object.
	FaultConflict
	// FaultBusy means that the API server can't answer now.
	FaultBusy
	// FaultRefused means that the API server refuses for a reason of its own.
	FaultRefused
)

// FaultOf classifies an error.
func FaultOf(err error) Fault {
	var stuck *StuckError
	var exists *ExistsError
	var without *TenantError
	switch {
	case errors.As(err, &stuck):
		return FaultStuck
	case errors.As(err, &without):
		return FaultNoTenant
	case errors.As(err, &exists):
		return FaultExists
	case errors.Is(err, context.DeadlineExceeded):
		return FaultSlow
	}
	return apiFaultOf(err)
}

// apiFaultOf classifies an error of the API server.
func apiFaultOf(err error) Fault {
	switch text := err.Error(); {
	case apierrors.IsUnauthorized(err):
		return FaultUnauthenticated
	case apierrors.IsForbidden(err) && strings.Contains(text, "ValidatingAdmissionPolicy"):
		return FaultPolicy
	case apierrors.IsForbidden(err):
		return FaultForbidden
	case apierrors.IsInvalid(err):
		return FaultInvalid
	case apierrors.IsNotFound(err) && strings.Contains(text, "could not find the requested resource"):
		return FaultNotInstalled
	case apierrors.IsNotFound(err):
		return FaultNotFound
	case apierrors.IsConflict(err):
		return FaultConflict
	case apierrors.IsTooManyRequests(err),
		apierrors.IsServerTimeout(err),
		apierrors.IsTimeout(err),
		apierrors.IsServiceUnavailable(err),
		apierrors.IsInternalError(err):
		return FaultBusy
	case apierrors.ReasonForError(err) != metav1.StatusReasonUnknown:
		return FaultRefused
	}
	return FaultUnreachable
}

// roles is advice for people who lack a right.
const roles = "Ask for a RoleBinding to the ClusterRole apikey-view (to look), apikey-edit (to suspend, rotate and " +
	"revoke) or apikey-admin (to create and resume)"

// faults has the meaning of each fault, for people who don't see the error itself, and what to do about it in each
// frontend. In the meaning, %s stands for the API server's message.
var faults = map[Fault]struct{ means, commandLine, page string }{
	FaultUnreachable: {
		means: "The API server can't be reached.",
		page:  "Try again in a moment; if that doesn't help, tell whoever runs the cluster.",
	},
	FaultExists: {means: "The name is taken."},
	FaultSlow: {
		means:       "That takes longer than usual.",
		commandLine: "Wait longer with --timeout, or look with kubectl apikey describe.",
		page:        "What was asked for stays asked for: this page shows when it is done.",
	},
	FaultUnauthenticated: {
		means:       "The cluster does not know who you are.",
		commandLine: "Log in to the cluster again: it does not know who you are.",
		page:        "Log in to it again.",
	},
	FaultPolicy: {means: "You may not do that: %s."},
	FaultForbidden: {
		means:       "You may not do that. The API server says: %s.",
		commandLine: roles + "; tenants and access policies, and -A, need a ClusterRoleBinding.",
		page:        roles + ".",
	},
	FaultInvalid: {means: "Some of this can't be taken as it is."},
	FaultNotInstalled: {
		means:       "This cluster has no API keys: its API server does not know the kind.",
		commandLine: "Is the operator installed in this cluster? kubectl config current-context names it.",
		page:        "Have the operator installed.",
	},
	FaultNotFound: {
		means:       "There is no such key any more.",
		commandLine: "kubectl apikey list shows the keys of the namespace, -A those of all; -n names another namespace.",
	},
	FaultConflict: {
		means:       "Somebody else has just changed this.",
		commandLine: "Somebody else has just changed it: look at it, and try again.",
		page:        "Look at it, and try again.",
	},
	FaultBusy: {
		means:       "The API server can't answer now: %s.",
		commandLine: "Try again in a moment.",
		page:        "Try again in a moment.",
	},
	FaultRefused: {means: "The API server refuses: %s."},
}

// Explain returns what an error means, for people who don't see the error itself, and what to do about it, "" where
// nothing is known.
func (f Frontend) Explain(err error) (means, do string) {
	fault := FaultOf(err)
	switch fault {
	case FaultStuck:
		stuck, _ := errors.AsType[*StuckError](err)
		return sentence(stuck.Message), f.Advice(stuck.Reason)
	case FaultNoTenant:
		without, _ := errors.AsType[*TenantError](err)
		advice := f.Advice(without.reason())
		return sentence(
			without.Error() + ", so keys in it can't be issued",
		), f.pick(advice+" Or choose another namespace with -n.", advice)
	}
	text := faults[fault]
	return strings.ReplaceAll(text.means, "%s", serverMessage(fault, err)), f.pick(text.commandLine, text.page)
}

// sentence turns a text into a sentence.
func sentence(text string) string {
	if text = strings.TrimRight(text, ". "); text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// serverMessage returns the API server's message, without the parts that tell people nothing.
func serverMessage(fault Fault, err error) string {
	text := err.Error()
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		text = status.Status().Message
	}
	switch fault {
	case FaultPolicy: // Without the policy's name.
		if _, reason, ok := strings.Cut(text, "denied request: "); ok {
			text = reason
		}
	case FaultForbidden: // Without the kind, which it names once more.
		if _, rest, ok := strings.Cut(text, " is forbidden: "); ok {
			text = rest
		}
	}
	return strings.TrimRight(text, ". ")
}

// Where says where the token of a key is, or will be.
func Where(key *keysv1alpha1.ApiKey) string {
	name, when := key.Status.SecretName, "is"
	switch {
	case key.Spec.Digest != nil:
		return "The token was made elsewhere. Only its digest is known here."
	case name == "" && keystate.Revoked(key):
		return "There is no token any more: the key is revoked."
	case name == "":
		name, when = key.Name, "will be"
		if key.Spec.Secret != nil && key.Spec.Secret.Name != "" {
			name = key.Spec.Secret.Name
		}
	}
	return "The token " + when + " in Secret " + key.Namespace + "/" + name + ", entry token."
}
