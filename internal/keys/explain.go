package keys

import (
	"fmt"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// ExplanationReport has the explanations of a request, for programs.
type ExplanationReport struct {
	Request      ReportedRequest       `json:"request"`
	Allowed      bool                  `json:"allowed"`
	Explanations []ReportedExplanation `json:"explanations"`
}

// ReportedRequest is the request that was asked about.
type ReportedRequest struct {
	Method string `json:"method"`
	Host   string `json:"host"`
	Target string `json:"target"`
	From   string `json:"from,omitempty"`
}

// ReportedExplanation is the decision about the request with one token.
type ReportedExplanation struct {
	Credential string         `json:"credential"`
	Outcome    string         `json:"outcome"`
	Status     int            `json:"status"`
	Reason     string         `json:"reason"`
	Message    string         `json:"message"`
	Rule       *ReportedRule  `json:"rule,omitempty"`
	Steps      []ReportedStep `json:"steps"`
}

// ReportedRule is the rule that matches the request.
type ReportedRule struct {
	Policy    string               `json:"policy"`
	Index     int                  `json:"index"`
	Scopes    []keysv1alpha1.Scope `json:"scopes,omitempty"`
	AnyOf     []keysv1alpha1.Scope `json:"anyOf,omitempty"`
	Anonymous bool                 `json:"anonymous,omitempty"`
}

// ReportedStep is one check of the decision.
type ReportedStep struct {
	Check   string               `json:"check"`
	OK      bool                 `json:"ok"`
	Reason  string               `json:"reason,omitempty"`
	Missing []keysv1alpha1.Scope `json:"missing,omitempty"`
}

// Report converts explanations for programs. Allowed is the result for the newest token, which is the last.
func Report(question *Question, explanations []Explanation) *ExplanationReport {
	report := &ExplanationReport{
		Request: ReportedRequest{Method: question.Method, Host: question.Host, Target: question.Target},
	}
	if question.From.IsValid() {
		report.Request.From = question.From.String()
	}
	for i := range explanations {
		e := &explanations[i]
		reported := ReportedExplanation{
			Credential: e.Credential, Outcome: e.Decision.Outcome.String(), Status: e.Decision.Status(),
			Reason: string(e.Decision.Reason), Message: e.Decision.Message(),
		}
		if need := e.Need; need != nil {
			reported.Rule = &ReportedRule{
				Policy:    need.Policy,
				Index:     need.Rule,
				Scopes:    need.Scopes,
				AnyOf:     need.AnyOf,
				Anonymous: need.Anonymous,
			}
		}
		for _, step := range e.Steps {
			reported.Steps = append(reported.Steps, ReportedStep{
				Check: string(step.Check), OK: step.Reason == "", Reason: string(step.Reason), Missing: step.Missing,
			})
		}
		report.Allowed = e.Decision.Outcome == verify.Allow
		report.Explanations = append(report.Explanations, reported)
	}
	return report
}

// Missing says what would let a request pass a check that refuses it.
func Missing(step *verify.Step, key *keysv1alpha1.ApiKey, question *Question) string {
	from := "an address that isn't known (say which with --from)"
	if question.From.IsValid() {
		from = question.From.String()
	}
	switch step.Check {
	case verify.CheckClaim:
		return "an older ApiKey of the tenant has the same digest, and the token stands for that one: delete one of the two"
	case verify.CheckTenant:
		return "X-Tenant-ID: " + key.Status.TenantID + ", which is the key's tenant"
	case verify.CheckTenantAddress:
		return from + " is in none of spec.allowedCIDRs of the Tenant"
	case verify.CheckGrantedAddress:
		return from + " is in none of what was granted: " + joined(key.Status.AllowedCIDRs, ", ")
	case verify.CheckAskedAddress:
		return from + " is in none of spec.allowedCIDRs: " + joined(key.Spec.AllowedCIDRs, ", ")
	case verify.CheckGrantedScopes:
		return fmt.Sprintf("%s, which the controller has not granted (granted: %s)", joined(step.Missing, ", "),
			joined(key.Status.Scopes, ", "))
	case verify.CheckAskedScopes:
		return fmt.Sprintf("%s in spec.scopes (asked for: %s)", joined(step.Missing, ", "), joined(key.Spec.Scopes, ", "))
	case verify.CheckRoute:
		if step.Reason != verify.ReasonNoRoute {
			return verify.Decision{Reason: step.Reason}.Message()
		}
		return "a rule for " + question.Method + " " + question.Host + question.Target + " in an AccessPolicy"
	case verify.CheckState:
		return stateMissing(step.Reason)
	}
	return verify.Decision{Reason: step.Reason}.Message()
}

// stateMissing says why a key in this state is refused, and what to do.
func stateMissing(reason verify.Reason) string {
	what := verify.Decision{Reason: reason}.Message()
	if advice := CommandLine.Advice(string(reason)); advice != "" {
		what += " " + advice
	}
	return what
}
