// Package review authenticates tokens for kube-apiserver: TokenReview of authentication.k8s.io/v1, as configured by
// --authentication-token-webhook-config-file.
//
// It authenticates tokens only for the audiences on its list, such as the API server's own. Every name of a user and a
// group begins with this project's prefix, so that no key becomes one of Kubernetes' own users.
package review

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubejson "k8s.io/apimachinery/pkg/util/json"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/requestbody"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	// surface is the value of the metrics' label.
	surface = "review"
	// maxBody is how long a review may be. A token has 66 characters; kube-apiserver also sends other issuers' tokens.
	maxBody = 64 << 10
	// unlisted is the answer for an audience that is not on the list, whatever the token.
	unlisted = "The verifier answers no reviews for these audiences: see --review-audiences."
)

// Extra keys of the user that a key authenticates. Kubernetes requires lower case.
const (
	extraCredential = keysv1alpha1.GroupName + "/credential-id"
	extraKey        = keysv1alpha1.GroupName + "/apikey"
	extraScopes     = keysv1alpha1.GroupName + "/scopes"
	extraTenant     = keysv1alpha1.GroupName + "/tenant-id"
)

var reviewType = metav1.TypeMeta{APIVersion: authenticationv1.SchemeGroupVersion.String(), Kind: "TokenReview"}

// Decider decides whom a token identifies.
type Decider interface {
	Identify(surface, bearer string, tenant *index.TenantID, client netip.Addr) verify.Decision
}

// Handler answers TokenReviews.
type Handler struct {
	decider Decider
	// audiences are those that tokens are authenticated for.
	audiences []string
	// tenant is the tenant whose users are authenticated. Nil means any.
	tenant *index.TenantID
}

// NewHandler returns a handler for reviews of these audiences. Without any it authenticates nobody. A token
// authenticates a user of the tenant that it was minted for, or of the only one that registered it.
func NewHandler(decider Decider, audiences []string) *Handler {
	return &Handler{decider: decider, audiences: audiences}
}

// For returns a handler that authenticates the users of one tenant only.
func (h *Handler) For(tenant index.TenantID) *Handler {
	return &Handler{decider: h.decider, audiences: h.audiences, tenant: &tenant}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/json")
	spec, bad := read(w, r)
	if bad != nil {
		bad.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		bad.Status = metav1.StatusFailure
		w.WriteHeader(int(bad.Code))
		_ = json.NewEncoder(w).Encode(bad) // A caller that has disconnected is not an error.
		return
	}
	_ = json.NewEncoder(w).Encode(authenticationv1.TokenReview{TypeMeta: reviewType, Status: h.review(spec)})
}

// review answers a review. For an audience that is not on the list it decides nothing, so that the answer does not
// depend on the token.
func (h *Handler) review(spec *authenticationv1.TokenReviewSpec) authenticationv1.TokenReviewStatus {
	listed := slices.DeleteFunc(
		slices.Clone(spec.Audiences), func(audience string) bool { return !slices.Contains(h.audiences, audience) },
	)
	if len(listed) == 0 {
		return authenticationv1.TokenReviewStatus{Error: unlisted}
	}
	// kube-apiserver does not send the client's address, so keys with an allowlist are not authenticated.
	answer := status(h.decider.Identify(surface, spec.Token, h.tenant, netip.Addr{}))
	if answer.Authenticated {
		answer.Audiences = listed
	}
	return answer
}

// status returns the answer for an audience on the list.
func status(decision verify.Decision) authenticationv1.TokenReviewStatus {
	if decision.Outcome != verify.Allow {
		return authenticationv1.TokenReviewStatus{Error: decision.Message()}
	}
	grant := &decision.Grant
	user := authenticationv1.UserInfo{
		Username: decision.UserName(),
		Groups:   decision.UserGroups(),
		Extra: map[string]authenticationv1.ExtraValue{
			extraCredential: {grant.CredentialID},
			extraKey:        {grant.Name},
			extraTenant:     {decision.TenantID},
		},
	}
	if scopes := strings.Fields(grant.ScopesHeader); len(scopes) > 0 {
		user.Extra[extraScopes] = scopes
	}
	if !confined(&user) {
		return authenticationv1.TokenReviewStatus{Error: decision.Message()}
	}
	return authenticationv1.TokenReviewStatus{Authenticated: true, User: user}
}

// confined reports whether every name of a user has this project's prefix.
func confined(user *authenticationv1.UserInfo) bool {
	for _, name := range append(slices.Clone(user.Groups), user.Username) {
		if !strings.HasPrefix(name, verify.UserPrefix) {
			return false
		}
	}
	return true
}

// read reads a review, or returns why it can't. Messages never repeat parts of the body, which may be a token.
func read(w http.ResponseWriter, r *http.Request) (*authenticationv1.TokenReviewSpec, *metav1.Status) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return nil, refusal(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, "Ask by POST.")
	}
	content, err := requestbody.Read(w, r, maxBody)
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return nil, refusal(http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge,
			"The review is too long to be about one of our tokens.")
	}
	var review authenticationv1.TokenReview
	if err != nil || kubejson.Unmarshal(content, &review) != nil {
		return nil, refusal(http.StatusBadRequest, metav1.StatusReasonBadRequest, "The body is not a TokenReview in JSON.")
	}
	if review.TypeMeta != reviewType {
		return nil, refusal(http.StatusBadRequest, metav1.StatusReasonBadRequest,
			"Send a TokenReview of "+reviewType.APIVersion+": set --authentication-token-webhook-version=v1 on kube-apiserver.")
	}
	return &review.Spec, nil
}

func refusal(code int32, reason metav1.StatusReason, message string) *metav1.Status {
	return &metav1.Status{Code: code, Reason: reason, Message: message}
}
