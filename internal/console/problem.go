package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// Reasons of problems, for scripts.
const (
	reasonSession     = "session"
	reasonCluster     = "cluster"
	reasonForged      = "forged"
	reasonForbidden   = "forbidden"
	reasonNotFound    = "notFound"
	reasonInvalid     = "invalid"
	reasonConflict    = "conflict"
	reasonStuck       = "stuck"
	reasonSlow        = "slow"
	reasonUnreachable = "unreachable"
	reasonNoKinds     = "notInstalled"
	reasonRefused     = "refused"
)

// errForged says that a change was not asked for by our own page.
var errForged = errors.New("not asked for by this page")

// problem is what went wrong, and the way out, for whoever looks at the page.
type problem struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// Fields are what is wrong with what was filled in.
	Fields []fieldProblem `json:"fields,omitempty"`
}

// fieldProblem is what is wrong with a field of the form.
type fieldProblem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

var statuses = map[string]int{
	reasonSession: http.StatusUnauthorized, reasonCluster: http.StatusUnauthorized, reasonForged: http.StatusForbidden, reasonForbidden: http.StatusForbidden,
	reasonNotFound: http.StatusNotFound, reasonInvalid: http.StatusUnprocessableEntity, reasonConflict: http.StatusConflict,
	reasonStuck: http.StatusConflict, reasonSlow: http.StatusGatewayTimeout, reasonNoKinds: http.StatusBadGateway,
	reasonUnreachable: http.StatusBadGateway, reasonRefused: http.StatusBadGateway,
}

func (p *problem) status() int { return statuses[p.Reason] }

// explain says what an error means to a person, and what to do about it.
func explain(err error) *problem {
	p := inWords(err)
	p.Message = printable.Text(p.Message) // It may quote what users have written.
	for i := range p.Fields {
		p.Fields[i].Message = printable.Text(p.Fields[i].Message)
	}
	return p
}

// inWords is explain, as it comes.
func inWords(err error) *problem {
	if p := explainOwn(err); p != nil {
		return p
	}
	switch text := err.Error(); {
	case apierrors.IsUnauthorized(err):
		return explain(errEnded)
	case apierrors.IsForbidden(err) && strings.Contains(text, "ValidatingAdmissionPolicy"):
		return &problem{Reason: reasonForbidden, Message: policyMessage(text)}
	case apierrors.IsForbidden(err):
		return &problem{Reason: reasonForbidden, Message: "You may not do that. The API server says: " + withoutKind(statusMessage(err)) + ". " +
			"Ask for a RoleBinding to the ClusterRole apikey-view (to look), apikey-edit (to suspend, rotate and revoke) or apikey-admin (to create and resume)."}
	case apierrors.IsInvalid(err):
		return invalid(err)
	case apierrors.IsNotFound(err) && strings.Contains(text, "could not find the requested resource"):
		return &problem{Reason: reasonNoKinds, Message: "This cluster has no API keys: its API server does not know the kind. Have the operator installed."}
	case apierrors.IsNotFound(err):
		return &problem{Reason: reasonNotFound, Message: "There is no such key any more."}
	case apierrors.IsConflict(err):
		return &problem{Reason: reasonConflict, Message: "Somebody else has just changed this key. Look at it, and try again."}
	case apierrors.IsTooManyRequests(err), apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsServiceUnavailable(err), apierrors.IsInternalError(err):
		return &problem{Reason: reasonUnreachable, Message: "The API server can't answer now: " + statusMessage(err) + ". Try again in a moment."}
	case apierrors.ReasonForError(err) != metav1.StatusReasonUnknown:
		return &problem{Reason: reasonRefused, Message: "The API server refuses: " + statusMessage(err) + "."}
	}
	return &problem{Reason: reasonUnreachable, Message: "The API server can't be reached. Try again in a moment; if that doesn't help, tell whoever runs the cluster."}
}

// explainOwn says what an error means that isn't the API server's, nil for others.
func explainOwn(err error) *problem {
	var stuck *keys.StuckError
	var exists *keys.ExistsError
	switch {
	case errors.Is(err, errNobody):
		return &problem{Reason: reasonSession, Message: "Your session has ended. Sign in again to go on where you were."}
	case errors.Is(err, errForged):
		return &problem{Reason: reasonForged, Message: "This page is too old to change anything. Load it again."}
	case errors.As(err, &stuck):
		return &problem{Reason: reasonStuck, Message: strings.TrimSuffix(stuck.Message, ".") + ". " + advice(stuck.Reason)}
	case errors.As(err, &exists):
		return &problem{Reason: reasonConflict, Message: "The name is taken.", Fields: []fieldProblem{
			{"name", "There is a key of this name in the namespace. Choose another."},
		}}
	case errors.Is(err, context.DeadlineExceeded):
		return &problem{Reason: reasonSlow, Message: "That takes longer than usual. What was asked for stays asked for: this page shows when it is done."}
	}
	return nil
}

// statusMessage is what the API server says, without the words that say that it is the API server's.
func statusMessage(err error) string {
	text := err.Error()
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		text = status.Status().Message
	}
	return strings.TrimRight(text, ". ")
}

// withoutKind is a refusal without the kind that it begins with, which it names once more.
func withoutKind(text string) string {
	if _, rest, ok := strings.Cut(text, " is forbidden: "); ok {
		return rest
	}
	return text
}

// policyMessage is what an admission policy says, without its name.
func policyMessage(text string) string {
	if _, reason, ok := strings.Cut(text, "denied request: "); ok {
		text = reason
	}
	return "You may not do that: " + strings.TrimRight(text, ".") + "."
}

// invalid says what is wrong with which field, as the API server does.
func invalid(err error) *problem {
	p := &problem{Reason: reasonInvalid, Message: "Some of this can't be taken as it is."}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return p
	}
	for _, cause := range status.Status().Details.Causes {
		field := formField(cause.Field)
		message := causeMessage(cause.Message)
		if field == "" {
			p.Message = message
			continue
		}
		p.Fields = append(p.Fields, fieldProblem{field, message})
	}
	return p
}

// causeMessage is what is wrong with a field, as a sentence, without the value, which is on the screen.
func causeMessage(text string) string {
	if rest, ok := strings.CutPrefix(text, "Invalid value: "); ok {
		if strings.HasPrefix(rest, `"`) {
			if end := strings.Index(rest, `": `); end > 0 {
				rest = rest[end+3:]
			}
		}
		text = rest
	}
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + strings.TrimRight(text[1:], ".") + "."
}

// formField returns the form's name for a field of an ApiKey, blank for one that the form hasn't.
func formField(path string) string {
	for _, f := range []struct{ path, field string }{
		{"metadata.name", "name"}, {"spec.displayName", "displayName"}, {"spec.scopes", "scopes"}, {"spec.expiry", "expiry"},
		{"spec.allowedCIDRs", "allowedCIDRs"}, {"spec.rotation.overlap", "rotateOverlap"}, {"spec.rotation", "rotateEvery"},
	} {
		if strings.HasPrefix(path, f.path) {
			return f.field
		}
	}
	return ""
}

// explain does so for who uses this console.
func (c *Console) explain(err error) *problem {
	p := explain(err)
	if errors.Is(err, errNobody) && !errors.Is(err, errEnded) && c.options.Own {
		return &problem{Reason: reasonSession, Message: othersPage}
	}
	if p.Reason == reasonSession && c.options.Own {
		return &problem{Reason: reasonCluster, Message: "The cluster does not know you any more. Log in to it again, and run kubectl apikey ui again."}
	}
	return p
}

// answerProblem answers a script with what went wrong.
func (c *Console) answerProblem(w http.ResponseWriter, err error) {
	p := c.explain(err)
	if p.Reason == reasonSession && !c.options.Own {
		c.end(w)
	}
	answerJSON(w, p.status(), p)
}

func (c *Console) turnAwayScript(w http.ResponseWriter, _ *http.Request, err error) {
	c.answerProblem(w, err)
}

func answerJSON(w http.ResponseWriter, status int, content any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(content) // A browser that has gone away is no fault.
}

// timely is the context of what the API server is to answer soon.
func timely(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), patience)
}
