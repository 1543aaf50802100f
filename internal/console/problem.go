package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

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

// errForged reports that a change was not requested by our own page.
var errForged = errors.New("not asked for by this page")

// problem is what went wrong and what to do, for the user of the page.
type problem struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
	// Fields are the problems of single fields of the form.
	Fields []fieldProblem `json:"fields,omitempty"`
}

// fieldProblem is a problem of one field of the form.
type fieldProblem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

var statuses = map[string]int{
	reasonSession:     http.StatusUnauthorized,
	reasonCluster:     http.StatusUnauthorized,
	reasonForged:      http.StatusForbidden,
	reasonForbidden:   http.StatusForbidden,
	reasonNotFound:    http.StatusNotFound,
	reasonInvalid:     http.StatusUnprocessableEntity,
	reasonConflict:    http.StatusConflict,
	reasonStuck:       http.StatusConflict,
	reasonSlow:        http.StatusGatewayTimeout,
	reasonNoKinds:     http.StatusBadGateway,
	reasonUnreachable: http.StatusBadGateway,
	reasonRefused:     http.StatusBadGateway,
}

func (p *problem) status() int { return statuses[p.Reason] }

// explain returns what an error means to a user, and what to do about it.
func explain(err error) *problem {
	p := inWords(err)
	p.Message = printable.Text(p.Message) // It may quote what users have written.
	for i := range p.Fields {
		p.Fields[i].Message = printable.Text(p.Fields[i].Message)
	}
	return p
}

// reasonsOf maps faults to reasons.
var reasonsOf = map[keys.Fault]string{
	keys.FaultUnreachable:     reasonUnreachable,
	keys.FaultStuck:           reasonStuck,
	keys.FaultNoTenant:        reasonConflict,
	keys.FaultExists:          reasonConflict,
	keys.FaultSlow:            reasonSlow,
	keys.FaultUnauthenticated: reasonSession,
	keys.FaultPolicy:          reasonForbidden,
	keys.FaultForbidden:       reasonForbidden,
	keys.FaultInvalid:         reasonInvalid,
	keys.FaultNotInstalled:    reasonNoKinds,
	keys.FaultNotFound:        reasonNotFound,
	keys.FaultConflict:        reasonConflict,
	keys.FaultBusy:            reasonUnreachable,
	keys.FaultRefused:         reasonRefused,
}

// inWords does what explain does, without escaping.
func inWords(err error) *problem {
	switch {
	case errors.Is(err, errNobody):
		return &problem{Reason: reasonSession, Message: "Your session has ended. Sign in again to go on where you were."}
	case errors.Is(err, errForged):
		return &problem{Reason: reasonForged, Message: "This page is too old to change anything. Load it again."}
	}
	fault := keys.FaultOf(err)
	if fault == keys.FaultUnauthenticated {
		return inWords(errEnded)
	}
	means, do := keys.Page.Explain(err)
	p := &problem{Reason: reasonsOf[fault], Message: strings.TrimSpace(means + " " + do)}
	switch fault {
	case keys.FaultExists:
		p.Fields = []fieldProblem{{"name", "There is a key of this name in the namespace. Choose another."}}
	case keys.FaultInvalid:
		p.locate(err)
	}
	return p
}

// locate adds the problems of single fields that the API server reports.
func (p *problem) locate(err error) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return
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
}

// causeMessage turns the API server's message about a field into a sentence, without the value, which is on the screen.
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

// formField returns the form's name of a field of an ApiKey, blank if the form doesn't have it.
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

// explain does what the function explain does, with the words for this console's users.
func (c *Console) explain(err error) *problem {
	p := explain(err)
	if errors.Is(err, errNobody) && !errors.Is(err, errEnded) && c.options.Own {
		return &problem{Reason: reasonSession, Message: othersPage}
	}
	if p.Reason == reasonSession && c.options.Own {
		return &problem{
			Reason:  reasonCluster,
			Message: "The cluster does not know you any more. Log in to it again, and run kubectl apikey ui again.",
		}
	}
	return p
}

// answerProblem answers a script's request with what went wrong.
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

// withAPITimeout returns a context for requests to the API server, bounded by apiTimeout.
func withAPITimeout(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), apiTimeout)
}
