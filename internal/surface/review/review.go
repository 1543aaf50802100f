// Package review answers kube-apiserver that asks who the bearer of a token is: TokenReview of authentication.k8s.io/v1, by
// --authentication-token-webhook-config-file.
//
// Who asks is not asked: the answer says nothing that the bearer of the token can't learn by using it, and kube-apiserver
// could only prove itself by what it would have to ask here for.
package review

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubejson "k8s.io/apimachinery/pkg/util/json"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/body"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	// surface is the name in the metrics.
	surface = "review"
	// maxBody is how long a review may be. A token has 66 characters; others' tokens are asked about too.
	maxBody = 64 << 10
)

// Extra keys of the user that a key is. Kubernetes has them in lower case.
const (
	extraCredential = keysv1alpha1.GroupName + "/credential-id"
	extraKey        = keysv1alpha1.GroupName + "/apikey"
	extraScopes     = keysv1alpha1.GroupName + "/scopes"
	extraTenant     = keysv1alpha1.GroupName + "/tenant-id"
)

var reviewType = metav1.TypeMeta{APIVersion: authenticationv1.SchemeGroupVersion.String(), Kind: "TokenReview"}

// Decider says whose a token is.
type Decider interface {
	Identify(surface, bearer string, tenant *index.TenantID, client netip.Addr) verify.Decision
}

// Handler answers TokenReviews.
type Handler struct {
	decider Decider
	// tenant is whose users the tokens are reviewed for; nil is any.
	tenant *index.TenantID
}

// NewHandler returns a handler. It takes a token for a user of the tenant that it was minted for, or of the only one that
// registered it.
func NewHandler(decider Decider) *Handler { return &Handler{decider: decider} }

// For returns a handler that authenticates the users of one tenant, and nobody else's.
func (h *Handler) For(tenant index.TenantID) *Handler {
	return &Handler{decider: h.decider, tenant: &tenant}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/json")
	token, bad := read(w, r)
	if bad != nil {
		bad.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		bad.Status = metav1.StatusFailure
		w.WriteHeader(int(bad.Code))
		_ = json.NewEncoder(w).Encode(bad) // A caller that has gone away is no fault.
		return
	}
	// The client's address is not known: kube-apiserver doesn't say it. So keys with an allowlist are not authenticated.
	decision := h.decider.Identify(surface, token, h.tenant, netip.Addr{})
	_ = json.NewEncoder(w).Encode(authenticationv1.TokenReview{TypeMeta: reviewType, Status: status(decision)})
}

// status is the answer. It names no audiences: keys have none, so an active key is one for the API server's own, as the
// API has it, and kube-apiserver refuses it to whoever asks for another.
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
	return authenticationv1.TokenReviewStatus{Authenticated: true, User: user}
}

// read returns the token that is asked about, or why there is none. What is in a body never gets into a message: it may be a
// token.
func read(w http.ResponseWriter, r *http.Request) (string, *metav1.Status) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return "", refusal(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, "Ask by POST.")
	}
	content, err := body.Read(w, r, maxBody)
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return "", refusal(http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge,
			"The review is too long to be about one of our tokens.")
	}
	var review authenticationv1.TokenReview
	if err != nil || kubejson.Unmarshal(content, &review) != nil {
		return "", refusal(http.StatusBadRequest, metav1.StatusReasonBadRequest, "The body is not a TokenReview in JSON.")
	}
	if review.TypeMeta != reviewType {
		return "", refusal(http.StatusBadRequest, metav1.StatusReasonBadRequest,
			"Send a TokenReview of "+reviewType.APIVersion+": set --authentication-token-webhook-version=v1 on kube-apiserver.")
	}
	return review.Spec.Token, nil
}

func refusal(code int32, reason metav1.StatusReason, message string) *metav1.Status {
	return &metav1.Status{Code: code, Reason: reason, Message: message}
}
