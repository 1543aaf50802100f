// Package kubeauth says who calls one of a program's own endpoints, and whether they may: Kubernetes reads the bearer token
// (TokenReview) and knows who may do what (SubjectAccessReview of the path and the method). So access is given by binding a
// ClusterRole that has the path among its nonResourceURLs.
//
//	request ── Authorization: Bearer … ──▶ TokenReview ── user ──▶ SubjectAccessReview ──▶ handler
//	           none: 401                   no user: 401             not allowed: 403
//
// What can't be asked is refused too, with 503. A verdict is good for a few seconds and no longer, so that a caller who asks
// often doesn't have the API server asked as often.
//
// Tokens can be made up. So each peer has its share of what the API server may be asked, and gets 429 beyond that; some is kept for
// those that ask seldom, and for callers who were allowed before. Nobody waits for a share.
package kubeauth

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/restclient"
)

const (
	// remembered is how long a verdict is good for.
	remembered = 10 * time.Second
	// verdicts is how many of each kind are remembered: those about junk don't push out the others.
	verdicts = 1024
	// patience is how long the API server may take.
	patience = 5 * time.Second
	// familiar is how long a caller counts as one who was allowed before.
	familiar = 10 * time.Minute
	// maxToken is how long a token may be. Those of service accounts have about 1,000 characters.
	maxToken = 16 << 10
)

// Cluster is an API server, as far as it is asked here. What is returned is the review with its answer.
type Cluster interface {
	ReviewToken(ctx context.Context, review *authenticationv1.TokenReview) (*authenticationv1.TokenReview, error)
	ReviewAccess(ctx context.Context, review *authorizationv1.SubjectAccessReview) (*authorizationv1.SubjectAccessReview, error)
}

// Options configure a Guard.
type Options struct {
	// Cluster answers.
	Cluster Cluster
	// Audiences are those of which a token must have one. Without any it must be for the API server's own.
	Audiences []string
	// APIServerToo accepts a token for the API server's own audience beside those. It is for callers that can have no other token.
	APIServerToo bool
	// Trust is the proxies whose X-Forwarded-For tells their callers apart. The zero value trusts none.
	Trust clientip.Trust
	Clock clock.Clock
	Log   logr.Logger
}

// Guard lets callers pass who may. The zero value can't be used.
type Guard struct {
	options          Options
	allowed, refused *cache.LRUExpireCache
	// before has the tokens of callers who were allowed a while ago.
	before *cache.LRUExpireCache
	peers  *peers
}

// New returns a guard.
func New(options Options) *Guard {
	return &Guard{
		options: options,
		allowed: cache.NewLRUExpireCacheWithClock(verdicts, options.Clock),
		refused: cache.NewLRUExpireCacheWithClock(verdicts, options.Clock),
		before:  cache.NewLRUExpireCacheWithClock(verdicts, options.Clock),
		peers:   newPeers(options.Clock),
	}
}

// NewForConfig returns a guard that asks an API server by the real clock: it sets Cluster and Clock of the options. The
// account needs to create TokenReviews and SubjectAccessReviews.
func NewForConfig(config *rest.Config, options Options) (*Guard, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // It would have callers wait. How often the API server is asked is up to peers.
	tokens, err := restclient.ForGroup(config, authenticationv1.SchemeGroupVersion, authenticationv1.AddToScheme)
	if err != nil {
		return nil, err
	}
	access, err := restclient.ForGroup(config, authorizationv1.SchemeGroupVersion, authorizationv1.AddToScheme)
	if err != nil {
		return nil, err
	}
	options.Cluster, options.Clock = cluster{tokens, access}, clock.RealClock{}
	return New(options), nil
}

// peer is the address that a request comes from, as far as it is known.
func (g *Guard) peer(r *http.Request) netip.Addr {
	peer := clientip.Peer(r.RemoteAddr)
	if client := g.options.Trust.Client(peer, r.Header["X-Forwarded-For"]); client.IsValid() {
		return client
	}
	return peer
}

// WithAPIServer returns another guard that accepts tokens for the API server's own audience, too. Both together ask the API server no
// more often than one.
func (g *Guard) WithAPIServer() *Guard {
	options := g.options
	options.APIServerToo = true
	other := New(options)
	other.peers = g.peers
	return other
}

// cluster asks an API server.
type cluster struct{ authentication, authorization rest.Interface }

// ReviewToken implements Cluster.
func (c cluster) ReviewToken(ctx context.Context, review *authenticationv1.TokenReview) (*authenticationv1.TokenReview, error) {
	answer := &authenticationv1.TokenReview{}
	return answer, c.authentication.Post().Resource("tokenreviews").Body(review).Do(ctx).Into(answer)
}

// ReviewAccess implements Cluster.
func (c cluster) ReviewAccess(ctx context.Context, review *authorizationv1.SubjectAccessReview) (*authorizationv1.SubjectAccessReview, error) {
	answer := &authorizationv1.SubjectAccessReview{}
	return answer, c.authorization.Post().Resource("subjectaccessreviews").Body(review).Do(ctx).Into(answer)
}

// verdict is what becomes of a caller: 200 or why not.
type verdict int

const (
	allowed         verdict = http.StatusOK
	unauthenticated verdict = http.StatusUnauthorized
	forbidden       verdict = http.StatusForbidden
	tooOften        verdict = http.StatusTooManyRequests
	unavailable     verdict = http.StatusServiceUnavailable
)

// Protect returns a handler of a path that only those reach who may do what they ask for there: the verb is the method, in
// small letters.
func (g *Guard) Protect(path string, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := g.judge(r, path); v != allowed {
			refuse(w, v)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

func (g *Guard) judge(r *http.Request, path string) verdict {
	token := bearer(r)
	if token == "" {
		return unauthenticated
	}
	attributes := authorizationv1.NonResourceAttributes{Path: path, Verb: strings.ToLower(r.Method)}
	// A digest, so that no token is kept.
	key := sha256.Sum256([]byte(attributes.Verb + "\x00" + path + "\x00" + token))
	for _, known := range []*cache.LRUExpireCache{g.allowed, g.refused} {
		if v, ok := known.Get(key); ok {
			if known, ok := v.(verdict); ok {
				return known
			}
		}
	}
	_, before := g.before.Get(key)
	release, admission := g.peers.admit(g.peer(r), before)
	switch admission {
	case tooMany:
		return tooOften
	case busy:
		return unavailable
	case admitted:
		defer release()
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	v, err := g.ask(ctx, token, &attributes)
	switch {
	case err != nil:
		if r.Context().Err() == nil {
			g.options.Log.Error(err, "A caller could not be checked", "path", path)
		}
		return unavailable // Not remembered.
	case v == allowed:
		g.allowed.Add(key, v, remembered)
		g.before.Add(key, true, familiar)
	default:
		g.refused.Add(key, v, remembered)
	}
	return v
}

// ask asks the API server.
func (g *Guard) ask(ctx context.Context, token string, attributes *authorizationv1.NonResourceAttributes) (verdict, error) {
	user, err := g.authenticate(ctx, token, g.options.Audiences)
	if err == nil && user == nil && g.options.APIServerToo && len(g.options.Audiences) > 0 {
		user, err = g.authenticate(ctx, token, nil)
	}
	if err != nil {
		return unavailable, withoutDetails("TokenReview", err)
	}
	if user == nil {
		return unauthenticated, nil
	}
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for name, values := range user.Extra {
		extra[name] = authorizationv1.ExtraValue(values)
	}
	access, err := g.options.Cluster.ReviewAccess(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra, NonResourceAttributes: attributes,
		},
	})
	if err != nil {
		return unavailable, withoutDetails("SubjectAccessReview", err)
	}
	if !access.Status.Allowed || access.Status.Denied {
		return forbidden, nil
	}
	return allowed, nil
}

// authenticate returns whose a token is that is for one of these audiences, or for the API server's own where there are none; and
// nil where it is nobody's. An API server that doesn't answer with any audience has not looked at them.
func (g *Guard) authenticate(ctx context.Context, token string, audiences []string) (*authenticationv1.UserInfo, error) {
	review, err := g.options.Cluster.ReviewToken(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences},
	})
	if err != nil {
		return nil, err
	}
	meant := len(audiences) == 0 ||
		slices.ContainsFunc(review.Status.Audiences, func(audience string) bool { return slices.Contains(audiences, audience) })
	if !review.Status.Authenticated || !meant {
		return nil, nil //nolint:nilnil // Nobody.
	}
	return &review.Status.User, nil
}

// bearer returns the one bearer token of a request, or "" where there is none.
func bearer(r *http.Request) string {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || len(token) > maxToken || strings.ContainsAny(token, " ,\t") {
		return ""
	}
	return token
}

func refuse(w http.ResponseWriter, v verdict) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", "application/json")
	if v == unauthenticated {
		header.Set("WWW-Authenticate", "Bearer")
	}
	if v == tooOften {
		header.Set("Retry-After", "1")
	}
	w.WriteHeader(int(v))
	_, _ = io.WriteString(w, bodies[v])
}

// bodies have the form of RFC 6749 section 5.2, whose clients one of the endpoints has.
var bodies = map[verdict]string{
	unauthenticated: `{"error":"invalid_client","error_description":"Authenticate with a token that the Kubernetes cluster accepts."}` + "\n",
	forbidden:       `{"error":"access_denied","error_description":"Your account may not do this: see the documentation for the ClusterRole."}` + "\n",
	unavailable:     `{"error":"temporarily_unavailable","error_description":"Your account could not be checked. Try again later."}` + "\n",
}

// withoutDetails says what failed. An API server's errors may name what they are about, so no more than their reason is told.
func withoutDetails(kind string, err error) error {
	if reason := apierrors.ReasonForError(err); reason != metav1.StatusReasonUnknown {
		return errors.New("creating a " + kind + ": " + string(reason))
	}
	return errors.New("creating a " + kind + ": the API server can't be reached")
}
