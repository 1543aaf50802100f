package keys

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// Reason explains a reason of a condition or of a refusal: what it means, and what a person can do about it. The
// command line, the page and the tables in docs say what this table says; a test compares them.
type Reason struct {
	// Name is the reason.
	Name string
	// Means is what it says, in a sentence.
	Means string
	// Do is what to do about it, or nothing.
	Do string
	// OnPage replaces Do for users of the page, where that differs.
	OnPage string
}

// nothing is Do where all is well.
const nothing = "Nothing."

// Advice that conditions and refusals share.
const (
	resume    = "Set spec.state to Active when it may work again: for a key, kubectl apikey resume does."
	another   = "Create another key with kubectl apikey create: a revoked one can't come back."
	reissue   = "Have it issued anew with kubectl apikey rotate, or create another."
	putBack   = "Give the namespace its labels back, or create another key for its tenant of now."
	askToWork = "Ask the platform team to set spec.state of the Tenant to Active: until then all of the tenant's keys " +
		"are refused."
)

// Reasons returns all reasons: those of conditions, and then those of refusals.
func Reasons() []Reason {
	return slices.Concat(keyReasons(), stalledKeyReasons(), tenantReasons(), policyReasons(), refusalReasons(),
		requestRefusalReasons())
}

// keyReasons returns the reasons of an ApiKey's conditions, but for stalledKeyReasons.
func keyReasons() []Reason {
	return []Reason{
		{Name: keysv1alpha1.ReasonReady, Means: "The key works.", Do: nothing},
		{Name: keysv1alpha1.ReasonAdmitted, Means: "The tenant grants the scopes and the expiry.", Do: nothing},
		{Name: keysv1alpha1.ReasonIssued, Means: "The Secret holds the key's first token.", Do: nothing},
		{Name: keysv1alpha1.ReasonRotated, Means: "The Secret holds a token that has replaced another.", Do: nothing},
		{Name: keysv1alpha1.ReasonRegistered, Means: "The token was made elsewhere; there is no Secret.", Do: nothing},
		{Name: keysv1alpha1.ReasonAnnounced, Means: "Verifiers are learning the token; the Secret comes after.",
			Do: "Wait: well below a second is usual. If it lasts, a verifier is stale: see the runbook."},
		{Name: keysv1alpha1.ReasonNotExpired, Means: "The expiry has not passed.", Do: nothing},
		{Name: keysv1alpha1.ReasonExpiringSoon, Means: "The end is near; the message says when.",
			Do: "Create the key's successor, or lengthen spec.expiry."},
		{Name: keysv1alpha1.ReasonWaitingForVerifiers, Means: "A verifier may still accept the key.",
			Do: "Wait. A verifier that is silent counts as refusing once its --max-staleness has passed."},
		{
			Name:   keysv1alpha1.ReasonSuspended,
			Means:  "Suspended, as asked.",
			Do:     resume,
			OnPage: "Resume it when it may work again.",
		},
		{
			Name:   keysv1alpha1.ReasonRevoked,
			Means:  "Revoked, as asked.",
			Do:     another,
			OnPage: "Generate another key: a revoked one can't come back.",
		},
		{Name: keysv1alpha1.ReasonExpired, Means: "The expiry has passed.", Do: reissue,
			OnPage: "Rotate the key to have it issued anew, or generate another."},
		{Name: keysv1alpha1.ReasonAwaitingDeletion, Means: "The Secret of a deleted key of the same name is still there.",
			Do: "Wait for the garbage collector to remove it."},
	}
}

// stalledKeyReasons returns the reasons of an ApiKey's conditions that need a person.
func stalledKeyReasons() []Reason {
	return []Reason{
		{Name: keysv1alpha1.ReasonNoTenant, Means: "No Tenant selects the namespace.",
			Do: "Have the namespace labelled as the spec.namespaceSelector of its Tenant asks."},
		{
			Name:  keysv1alpha1.ReasonAmbiguousTenant,
			Means: "Two Tenants select the namespace, or an older Tenant has the same spec.id.",
			Do:    "Have labels or selectors changed so that one Tenant selects the namespace, or one of the two deleted.",
		},
		{
			Name:  keysv1alpha1.ReasonTenantChanged,
			Means: "The namespace has moved to another tenant, or to none.",
			Do:    putBack,
		},
		{Name: keysv1alpha1.ReasonTenantSuspended, Means: "The tenant is suspended.", Do: askToWork},
		{
			Name:  keysv1alpha1.ReasonQuotaExceeded,
			Means: "The tenant has as many active keys as it may.",
			Do: "Revoke a key that nobody needs (kubectl apikey list --unused-for 90d), or have spec.maxKeys of the " +
				"Tenant raised.",
			OnPage: "Revoke a key that nobody needs, or have spec.maxKeys of the Tenant raised.",
		},
		{Name: keysv1alpha1.ReasonUnknownScope, Means: "No AccessPolicy declares one of the scopes.",
			Do:     "Correct the scope: kubectl apikey scopes lists them. Or have it declared.",
			OnPage: "Correct the scope: Generate New Key lists those that there are."},
		{Name: keysv1alpha1.ReasonScopeNotAllowed, Means: "The tenant may not grant one of the scopes.",
			Do:     "Remove the scope: kubectl apikey tenant lists those that the tenant may have.",
			OnPage: "Remove the scope: Generate New Key lists those that the tenant may have."},
		{Name: keysv1alpha1.ReasonExpiryNotOffered, Means: "The tenant does not offer the expiry.",
			Do: "Choose an expiry that kubectl apikey tenant lists.", OnPage: "Choose an expiry that Generate New Key offers."},
		{
			Name:  keysv1alpha1.ReasonNamespaceNotServed,
			Means: "The controller may not keep Secrets in the namespace.",
			Do: "Have the namespace added to the controller's --namespaces and the ClusterRole apikey-controller-secrets " +
				"bound there, or create the key in another.",
		},
		{Name: keysv1alpha1.ReasonSecretConflict, Means: "A Secret of that name belongs to somebody else.",
			Do: "Remove the Secret of that name that is not the key's, or set spec.secret.name."},
		{
			Name:  keysv1alpha1.ReasonSecretRefused,
			Means: "The API server does not let the controller write the Secret: a quota, a policy or a role is in the way.",
			Do:    "Have the quota raised, or the policy or role changed, that the message names.",
		},
		{Name: keysv1alpha1.ReasonInvalidTemplate, Means: "An entry of spec.secret.data can't be rendered.",
			Do: "Correct the template in spec.secret.data that the message names."},
		{
			Name:  keysv1alpha1.ReasonDigestConflict,
			Means: "An older key of the tenant has the same digest, or the token was minted for a key that is revoked.",
			Do:    "Delete one of the two keys with this digest. If the token's own key is revoked, register another token.",
		},
		{Name: keysv1alpha1.ReasonRootKeyLost, Means: "The token's root key is gone, and so is the Secret.",
			Do:     "Restore the root key, or have another token made with kubectl apikey rotate.",
			OnPage: "Have the root key restored, or have another token made: rotate the key."},
	}
}

// tenantReasons returns the reasons of a Tenant's conditions that no ApiKey has.
func tenantReasons() []Reason {
	return []Reason{
		{Name: keysv1alpha1.ReasonActive, Means: "The tenant's keys can work.", Do: nothing},
		{
			Name:  keysv1alpha1.ReasonInvalidSelector,
			Means: "spec.namespaceSelector can't be evaluated, so the tenant has no namespaces.",
			Do:    "Correct it as the message says.",
		},
		{Name: keysv1alpha1.ReasonDuplicateID, Means: "An older Tenant has the same spec.id.", Do: "Delete one of the two."},
	}
}

// policyReasons returns the reasons of an AccessPolicy's conditions.
func policyReasons() []Reason {
	return []Reason{
		{Name: keysv1alpha1.ReasonApplied, Means: "Every rule is in effect.", Do: nothing},
		{
			Name: keysv1alpha1.ReasonConflict,
			Means: "An older policy, or an earlier rule of this one, is for the same host, path and method as one of its " +
				"rules, and decides instead.",
			Do: "Remove or narrow one of the two rules; the message names the other.",
		},
		{
			Name:  keysv1alpha1.ReasonNoHosts,
			Means: "The policy has rules and no spec.hosts, so none is ever in effect.",
			Do:    "Name the hosts, or remove the rules.",
		},
	}
}

// refusalReasons returns the reasons of decisions that are about the key or its token, as the verifier names them.
func refusalReasons() []Reason {
	return []Reason{
		{Name: string(verify.ReasonAllowed), Means: "The request passes.", Do: nothing},
		{Name: string(verify.ReasonAnonymous), Means: "The route asks for no key.", Do: nothing},
		{Name: string(verify.ReasonNoCredentials), Means: "There is no Authorization: Bearer header.",
			Do: "Have the client send one, and the proxy pass it on."},
		{Name: string(verify.ReasonDuplicateCredentials), Means: "There are two credentials, or two tenants.",
			Do: "Have the client send each header once, and no proxy add its own."},
		{
			Name:  string(verify.ReasonTenantMissing),
			Means: "There is no X-Tenant-ID.",
			Do:    "Have the client send its tenant's spec.id.",
		},
		{
			Name:  string(verify.ReasonTenantMalformed),
			Means: "X-Tenant-ID is no UUID.",
			Do:    "Have the client send its tenant's spec.id.",
		},
		{
			Name:  string(verify.ReasonTenantRequired),
			Means: "Somebody has asked about a token that several tenants have registered, and named none of them.",
			Do:    "Name the tenant: see whose token it is.",
		},
		{Name: string(verify.ReasonMalformedToken), Means: "It is no token of ours: a typo, or cut short.",
			Do: "Copy it anew from the Secret; look for line breaks."},
		{Name: string(verify.ReasonUnknownToken), Means: "It has the right form, and no key has it.",
			Do: "It is a deleted key's, another cluster's, or was replaced: read the Secret again."},
		{Name: "invalid_token", Means: "What callers are told in place of malformed_token and unknown_token.",
			Do: "See the audit log or the metrics for which it is."},
		{Name: string(verify.ReasonRevoked), Means: "The key is revoked.", Do: another},
		{Name: string(verify.ReasonSuspended), Means: "The key is suspended.", Do: resume},
		{Name: string(verify.ReasonExpired), Means: "The key has expired, or the token's overlap is over.",
			Do: "Read the Secret again; if the key itself has expired, kubectl apikey rotate has it issued anew."},
		{
			Name:  string(verify.ReasonDeleted),
			Means: "The ApiKey is being deleted.",
			Do:    "Create another with kubectl apikey create.",
		},
		{Name: string(verify.ReasonTenantSuspended), Means: "The tenant is suspended.", Do: askToWork},
		{
			Name:  string(verify.ReasonTenantChanged),
			Means: "The key's namespace has moved to another tenant, or to none.",
			Do:    putBack,
		},
	}
}

// requestRefusalReasons returns the reasons of refusals that depend on the request, as the verifier names them.
func requestRefusalReasons() []Reason {
	return []Reason{
		{Name: string(verify.ReasonWrongTenant), Means: "The key is another tenant's than the request names.",
			Do: "Have the client send its own tenant's spec.id."},
		{
			Name:  string(verify.ReasonAddressNotAllowed),
			Means: "The client's address is in no block of allowedCIDRs, or is not known.",
			Do:    "Add the block; see that the proxy is among --trusted-proxies.",
		},
		{
			Name:  string(verify.ReasonPathAmbiguous),
			Means: "The path can be read in two ways, such as by .. or %2f.",
			Do:    "Have the client write it plainly.",
		},
		{
			Name:  string(verify.ReasonQueryMalformed),
			Means: "The query has a space, a control character, a # or bytes that are not UTF-8.",
			Do:    "Have the client percent-encode it.",
		},
		{
			Name:  string(verify.ReasonTargetTooLong),
			Means: "Path and query are longer than 8192 bytes together.",
			Do:    "Have the client send the data in the body.",
		},
		{
			Name:  string(verify.ReasonHostMissing),
			Means: "The request names no host, as HTTP/1.0 allows.",
			Do:    "Have the client send Host. If every request is refused so, the proxy does not pass it on: see its guide.",
		},
		{Name: string(verify.ReasonNoRoute), Means: "No AccessPolicy has the host, or no rule the path and method.",
			Do: "Declare the route; compare the host with the policy's."},
		{Name: string(verify.ReasonScopeMissing), Means: "The key lacks a scope; the answer names it.",
			Do: "Add it to spec.scopes, of a tenant that may have it."},
		{Name: string(verify.ReasonHeaderNominated), Means: "Connection names a header that the decision rests on.",
			Do: "Have the client leave that out; no honest one does it."},
		{Name: string(verify.ReasonMisconfigured), Means: "The proxy did not say what its dialect has to about the request.",
			Do: "Compare its configuration with its guide."},
		{Name: string(verify.ReasonUnavailable), Means: "The verifier can't prove that it is up to date.",
			Do: "A verifier is stale, or etcd was restored: see the runbook."},
	}
}

var reasons = func() map[string]Reason {
	byName := map[string]Reason{}
	for _, reason := range Reasons() {
		byName[reason.Name] = reason
	}
	return byName
}()

// Frontend is what a person uses, which decides how advice is worded.
type Frontend int

// Frontends.
const (
	CommandLine Frontend = iota
	Page
)

// pick returns the text for this frontend.
func (f Frontend) pick(commandLine, page string) string {
	if f == Page {
		return page
	}
	return commandLine
}

// Advice returns what a person can do about a reason of a condition or of a refusal, "" where there is nothing to do.
func (f Frontend) Advice(reason string) string {
	found := reasons[reason]
	if found.Do == nothing {
		return ""
	}
	return f.pick(found.Do, cmp.Or(found.OnPage, found.Do))
}

// ConditionAdvice returns what a person can do about a condition of a key, "" where all is well.
func (f Frontend) ConditionAdvice(condition *metav1.Condition) string {
	switch condition.Type {
	case keysv1alpha1.ConditionRevocationEffective, keysv1alpha1.ConditionPublished:
		if condition.Reason == keysv1alpha1.ReasonRevoked {
			return "" // Revoked says it.
		}
	case keysv1alpha1.ConditionReconciling, keysv1alpha1.ConditionStalled:
		return "" // The condition that has the same reason says it.
	}
	return f.Advice(condition.Reason)
}

// OverlapWarning says that a rotation has to wait for the end of the last one's overlap, "" where it has not.
func (f Frontend) OverlapWarning(key *keysv1alpha1.ApiKey) string {
	credentials := key.Status.Credentials
	if len(credentials) < 2 || credentials[0].ValidUntil == nil {
		return ""
	}
	return fmt.Sprintf("%s is in the overlap of its last rotation: the next begins when that is over, at %s. "+
		"If a token has leaked, don't wait: revoke.",
		f.pick("ApiKey "+nameOf(key), "The key"), credentials[0].ValidUntil.UTC().Format(time.RFC3339))
}
