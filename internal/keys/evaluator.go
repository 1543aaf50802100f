package keys

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// Evaluator decides as a verifier would that knows exactly these objects, with the verifiers' own code.
type Evaluator struct {
	view *index.View
	keys map[string]*keysv1alpha1.ApiKey
}

// NewEvaluator returns an Evaluator of the given objects.
func NewEvaluator(
	keys []keysv1alpha1.ApiKey, tenants []keysv1alpha1.Tenant, policies []keysv1alpha1.AccessPolicy,
) *Evaluator {
	e := &Evaluator{view: index.NewView(), keys: map[string]*keysv1alpha1.ApiKey{}}
	for i := range keys {
		name := nameOf(&keys[i])
		e.keys[name] = &keys[i]
		e.view.Credentials.Put(name, index.ClaimsOf(&keys[i]))
	}
	all := index.Tenants{}
	for i := range tenants {
		if id, tenant, ok := index.TenantOf(&tenants[i]); ok {
			all.Add(id, tenant)
		}
	}
	e.view.SetTenants(all)
	e.view.SetRoutes(access.Compile(policies))
	return e
}

// Question is a request that a person asks about.
type Question struct {
	Method, Host string
	// Target is the path and query, not decoded.
	Target string
	// From is the client's address; the zero value means that it isn't known.
	From netip.Addr
	// TenantID is the value of the header X-Tenant-ID; blank means the key's own tenant.
	TenantID string
}

// Explanation is the decision about a request with one of a key's tokens, and the reasons for it.
type Explanation struct {
	Credential string
	verify.Explanation
}

// Explain returns an explanation for each credential of a key, the oldest first: during a rotation's overlap there are
// two.
func (e *Evaluator) Explain(key *keysv1alpha1.ApiKey, question Question, now time.Time) []Explanation {
	request := &verify.Request{
		Method: question.Method,
		Host:   question.Host,
		Target: question.Target,
		Client: question.From,
	}
	if question.TenantID != "" {
		request.TenantID = []string{question.TenantID}
	}
	name := nameOf(key)
	var all []Explanation
	for _, claim := range e.view.Credentials.Find(func(claim *index.Claim) bool { return claim.Name == name }) {
		all = append(all, Explanation{
			Credential:  claim.CredentialID,
			Explanation: verify.Explain(e.view, claim, request, verify.Fresh, now),
		})
	}
	slices.SortStableFunc(all,
		func(a, b Explanation) int { return position(key, a.Credential) - position(key, b.Credential) })
	return all
}

// position returns the index of a credential in a key's status.
func position(key *keysv1alpha1.ApiKey, credential string) int {
	return slices.IndexFunc(key.Status.Credentials, func(c keysv1alpha1.Credential) bool { return c.ID == credential })
}

// Form is what a token's text alone shows.
type Form string

// Forms of tokens.
const (
	// FormOurs is that of a token with the right length, a right checksum and one of the formats of NexusCommerce.
	FormOurs Form = "ours"
	// FormOther is that of a valid token with another format, which a controller may be configured to mint.
	FormOther Form = "other format"
	// FormDamaged is that of a token that begins as ours do and has a wrong checksum: it is incomplete, or has a typo.
	FormDamaged Form = "damaged"
	// FormForeign is that of anything else.
	FormForeign Form = "not ours"
)

// formats are those of NexusCommerce's tokens.
var formats = []token.Format{token.FormatLive, token.FormatTest}

// FormOf returns the form of a token.
func FormOf(text string) Form {
	ours := slices.ContainsFunc(formats, func(f token.Format) bool { return strings.HasPrefix(text, string(f)) })
	switch {
	case ours && token.WellFormed(text):
		return FormOurs
	case token.WellFormed(text):
		return FormOther
	case ours:
		return FormDamaged
	}
	return FormForeign
}

// Identity is a key that claims a token.
type Identity struct {
	Key *keysv1alpha1.ApiKey
	// Credential is the public id of the token's.
	Credential string
	// Newest is set if it is the key's newest credential, and not a superseded one in its overlap.
	Newest bool
	// Minted is set if the controller minted the token for this key. Whoever has a token, or its digest, may register it
	// too.
	Minted bool
	// Decision is the decision about the token for the key's tenant, whatever the client's address.
	Decision verify.Decision
	// Restricted is set if the token works from some addresses only.
	Restricted bool
	// Holder is the key of the same tenant that the token stands for instead, namespace/name; blank where it stands for
	// this one.
	Holder string
}

// Works reports whether the token works as this key's.
func (i *Identity) Works() bool { return i.Decision.Outcome == verify.Allow || i.Restricted }

// Identify returns every key that claims a token. The first is the key that the token stands for if a request names no
// tenant. If contested, there is no such key: several tenants have registered the token.
func (e *Evaluator) Identify(text string, now time.Time) (claims []Identity, contested bool) {
	unnamed := verify.Identify(e.view, text, nil, netip.Addr{}, verify.Fresh, now)
	if unnamed.Reason == verify.ReasonMalformedToken {
		return nil, false
	}
	digest := token.DigestOf(text)
	for _, claim := range e.view.Credentials.Find(func(claim *index.Claim) bool { return claim.Digest == digest }) {
		claims = append(claims, e.identity(text, claim, now))
	}
	return claims, unnamed.Reason == verify.ReasonTenantRequired
}

// identity returns what a token is to one of the keys that claim it.
func (e *Evaluator) identity(text string, claim *index.Claim, now time.Time) Identity {
	key := e.keys[claim.Name]
	found := Identity{
		Key: key, Credential: claim.CredentialID, Minted: claim.Minted,
		Newest:   position(key, claim.CredentialID) == len(key.Status.Credentials)-1,
		Decision: verify.Identify(e.view, text, &claim.Tenant, netip.Addr{}, verify.Fresh, now),
	}
	if holder := found.Decision.Grant.Name; holder != claim.Name {
		found.Holder = holder
		found.Decision = verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonUnknownToken}
	}
	found.Restricted = found.Decision.Reason == verify.ReasonAddressNotAllowed
	return found
}

// AssumedTenants returns active tenants without limits for keys, for users who may not read the real ones.
func AssumedTenants(keys []keysv1alpha1.ApiKey) []keysv1alpha1.Tenant {
	var all []keysv1alpha1.Tenant
	seen := map[string]bool{}
	for i := range keys {
		if id := keys[i].Status.TenantID; id != "" && !seen[id] {
			seen[id] = true
			all = append(all, keysv1alpha1.Tenant{Spec: keysv1alpha1.TenantSpec{ID: id, State: keysv1alpha1.TenantActive}})
		}
	}
	return all
}
