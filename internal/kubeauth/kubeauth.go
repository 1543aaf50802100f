// Package kubeauth protects a program's own endpoints. Kubernetes authenticates the caller's bearer token (TokenReview)
// and authorizes the path and the method (SubjectAccessReview). So you grant access by binding a ClusterRole that lists
// the path in its nonResourceURLs.
//
//	request ── Authorization: Bearer … ──▶ TokenReview ── user ──▶ SubjectAccessReview ──▶ handler
//	           none: 401                   no user: 401             not allowed: 403
//
// If the API server can't be asked, the answer is 503. An answer is cached for a few seconds, so that frequent callers
// don't cause as many requests to the API server.
//
// Anyone can make up tokens. So each peer has a share of the requests to the API server, and gets 429 beyond that. A
// part is reserved for peers that call rarely, and a part for callers who were allowed before. Nobody waits for a
// share.
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
	// cacheFor is how long an answer is cached.
	cacheFor = 10 * time.Second
	// cacheSize is how many answers are cached, of callers who are allowed and of those who are refused each. So made-up
	// tokens don't displace callers who are allowed.
	cacheSize = 1024
	// timeout is how long the API server may take to answer.
	timeout = 5 * time.Second
	// knownFor is how long a caller counts as one who was allowed before.
	knownFor = 10 * time.Minute
	// maxToken is how long a token may be. Service accounts' tokens have about 1,000 characters.
	maxToken = 16 << 10
)

// Cluster is the part of an API server that a Guard calls. Both methods return the review with its answer.
type Cluster interface {
	ReviewToken(ctx context.Context, review *authenticationv1.TokenReview) (*authenticationv1.TokenReview, error)
	ReviewAccess(
		ctx context.Context, review *authorizationv1.SubjectAccessReview,
	) (*authorizationv1.SubjectAccessReview, error)
}

// Options configure a Guard.
type Options struct {
	// Cluster authenticates and authorizes.
	Cluster Cluster
	// Audiences are the audiences of which a token must have one. If there are none, the token must be for the API server.
	Audiences []string
	// APIServerToo also accepts tokens for the API server's own audience, from callers that can have no other token.
	APIServerToo bool
	// Trust is the proxies whose X-Forwarded-For tells their callers apart. The zero value trusts none.
	Trust clientip.Trust
	Clock clock.Clock
	Log   logr.Logger
}

// Guard lets only authorized callers pass. The zero value can't be used.
type Guard struct {
	options          Options
	allowed, refused *cache.LRUExpireCache
	// before has the callers who were allowed during the last knownFor.
	before *cache.LRUExpireCache
	peers  *peers
}

// New returns a guard.
func New(options Options) *Guard {
	return &Guard{
		options: options,
		allowed: cache.NewLRUExpireCacheWithClock(cacheSize, options.Clock),
		refused: cache.NewLRUExpireCacheWithClock(cacheSize, options.Clock),
		before:  cache.NewLRUExpireCacheWithClock(cacheSize, options.Clock),
		peers:   newPeers(options.Clock),
	}
}

// NewForConfig returns a guard that asks an API server by the real clock: it sets Cluster and Clock of the options. The
// account needs to create TokenReviews and SubjectAccessReviews.
func NewForConfig(config *rest.Config, options Options) (*Guard, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // A limit here would make callers wait. How often the API server is asked is up to peers.
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

// address returns the address that a request comes from, as far as it is known.
func (g *Guard) address(r *http.Request) netip.Addr {
	remote := clientip.Peer(r.RemoteAddr)
	if client := g.options.Trust.Client(remote, r.Header["X-Forwarded-For"]); client.IsValid() {
		return client
	}
	return remote
}

// WithAPIServer returns another guard that also accepts tokens for the API server's own audience. Both share the limits
// on requests to the API server.
func (g *Guard) WithAPIServer() *Guard {
	options := g.options
	options.APIServerToo = true
	other := New(options)
	other.peers = g.peers
	return other
}

// cluster is a Cluster over REST.
type cluster struct{ authentication, authorization rest.Interface }

// ReviewToken implements Cluster.
func (c cluster) ReviewToken(
	ctx context.Context, review *authenticationv1.TokenReview,
) (*authenticationv1.TokenReview, error) {
	answer := &authenticationv1.TokenReview{}
	return answer, c.authentication.Post().Resource("tokenreviews").Body(review).Do(ctx).Into(answer)
}

// ReviewAccess implements Cluster.
func (c cluster) ReviewAccess(
	ctx context.Context, review *authorizationv1.SubjectAccessReview,
) (*authorizationv1.SubjectAccessReview, error) {
	answer := &authorizationv1.SubjectAccessReview{}
	return answer, c.authorization.Post().Resource("subjectaccessreviews").Body(review).Do(ctx).Into(answer)
}

// status is the HTTP status for a caller: 200, or why not.
type status int

const (
	allowed         status = http.StatusOK
	unauthenticated status = http.StatusUnauthorized
	forbidden       status = http.StatusForbidden
	tooOften        status = http.StatusTooManyRequests
	unavailable     status = http.StatusServiceUnavailable
)

// Protect returns a handler for a path that lets only callers pass who are authorized for the path. The verb is the
// method in lower case.
func (g *Guard) Protect(path string, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := g.check(r, path); v != allowed {
			refuse(w, v)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// check returns the status for a caller, from the cache or from the API server.
func (g *Guard) check(r *http.Request, path string) status {
	token := bearer(r)
	if token == "" {
		return unauthenticated
	}
	attributes := authorizationv1.NonResourceAttributes{Path: path, Verb: strings.ToLower(r.Method)}
	// A digest, so that no token is kept in memory.
	key := sha256.Sum256([]byte(attributes.Verb + "\x00" + path + "\x00" + token))
	for _, known := range []*cache.LRUExpireCache{g.allowed, g.refused} {
		if v, ok := known.Get(key); ok {
			if known, ok := v.(status); ok {
				return known
			}
		}
	}
	_, before := g.before.Get(key)
	release, result := g.peers.admit(g.address(r), before)
	switch result {
	case tooMany:
		return tooOften
	case busy:
		return unavailable
	case admitted:
		defer release()
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	v, err := g.ask(ctx, token, &attributes)
	switch {
	case err != nil:
		if r.Context().Err() == nil {
			g.options.Log.Error(err, "A caller could not be checked", "path", path)
		}
		return unavailable // Not cached.
	case v == allowed:
		g.allowed.Add(key, v, cacheFor)
		g.before.Add(key, true, knownFor)
	default:
		g.refused.Add(key, v, cacheFor)
	}
	return v
}

// ask authenticates and authorizes a caller by the API server.
func (g *Guard) ask(
	ctx context.Context, token string, attributes *authorizationv1.NonResourceAttributes,
) (status, error) {
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

// authenticate returns the user of a token for one of these audiences, or for the API server's own if there are none.
// It returns nil if the token is not valid. An API server that answers without audiences has not checked them.
func (g *Guard) authenticate(
	ctx context.Context, token string, audiences []string,
) (*authenticationv1.UserInfo, error) {
	review, err := g.options.Cluster.ReviewToken(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences},
	})
	if err != nil {
		return nil, err
	}
	meant := len(audiences) == 0 ||
		slices.ContainsFunc(
			review.Status.Audiences, func(audience string) bool { return slices.Contains(audiences, audience) },
		)
	if !review.Status.Authenticated || !meant {
		return nil, nil //nolint:nilnil // The token is nobody's.
	}
	return &review.Status.User, nil
}

// bearer returns the bearer token of a request, or "" if there is none or more than one.
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

func refuse(w http.ResponseWriter, v status) {
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

// bodies have the form of RFC 6749, section 5.2, which clients of the introspection endpoint expect.
var bodies = map[status]string{
	unauthenticated: `{"error":"invalid_client","error_description":"Authenticate with a token that the Kubernetes ` +
		`cluster accepts."}` + "\n",
	forbidden: `{"error":"access_denied","error_description":"Your account may not do this: see the ` +
		`documentation for the ClusterRole."}` + "\n",
	unavailable: `{"error":"temporarily_unavailable","error_description":"Your account could not be checked. Try ` +
		`again later."}` + "\n",
}

// withoutDetails returns an error that names only the kind of request and the reason. An API server's own error may
// repeat what was sent.
func withoutDetails(kind string, err error) error {
	if reason := apierrors.ReasonForError(err); reason != metav1.StatusReasonUnknown {
		return errors.New("creating a " + kind + ": " + string(reason))
	}
	return errors.New("creating a " + kind + ": the API server can't be reached")
}
