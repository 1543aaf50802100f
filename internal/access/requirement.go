package access

import (
	"slices"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// Requirement is what a route needs. It is shared by all requests for the route and must not be changed.
type Requirement struct {
	// Policy is the name of the AccessPolicy that it comes from; blank for a requirement made by Require.
	Policy string
	// Rule is the index of the rule that it comes from in the policy's spec.rules.
	Rule int
	// Scopes are all needed.
	Scopes []keysv1alpha1.Scope
	// AnyOf are scopes of which one is needed, if there are any.
	AnyOf []keysv1alpha1.Scope
	// Anonymous routes need no key at all, and so no scopes. Check this before identifying the caller.
	Anonymous bool

	// age is the position of the policy among all, oldest first.
	age int
	// sufficient is a list of scopes that satisfies the requirement, as SatisfiedBy returns it.
	sufficient string
}

// Require returns a requirement for scopes that are fixed in a proxy's configuration. All of them are needed.
func Require(scopes ...keysv1alpha1.Scope) *Requirement {
	return newRequirement(scopes, nil, false)
}

// newRequirement copies its arguments, so that later changes of an AccessPolicy don't affect what was compiled. Scopes
// take precedence over anonymous: the schema admits no rule with both, and such a rule would need its scopes.
func newRequirement(scopes, anyOf []keysv1alpha1.Scope, anonymous bool) *Requirement {
	sufficient := slices.Clone(scopes)
	if len(anyOf) > 0 && !slices.ContainsFunc(anyOf, func(s keysv1alpha1.Scope) bool { return CoveredBy(scopes, s) }) {
		sufficient = append(sufficient, anyOf[0])
	}
	return &Requirement{
		Scopes:     slices.Clone(scopes),
		AnyOf:      slices.Clone(anyOf),
		Anonymous:  anonymous && len(sufficient) == 0,
		sufficient: join(sufficient),
	}
}

// SatisfiedBy reports whether the granted scopes are enough: they cover all of Scopes, and one of AnyOf if there are
// any. If not, needed lists scopes that would be enough, separated by spaces, in the form and with the meaning of the
// challenge's scope attribute: "the required scope of the access token for accessing the requested resource", RFC 6750
// section 3. It is the whole list, not only what is missing, with the first scope of AnyOf, so that the list is enough
// and no longer than necessary. It is computed when policies are compiled.
func (r *Requirement) SatisfiedBy(granted []keysv1alpha1.Scope) (needed string, ok bool) {
	for _, s := range r.Scopes {
		if !CoveredBy(granted, s) {
			return r.sufficient, false
		}
	}
	if len(r.AnyOf) == 0 {
		return "", true
	}
	for _, s := range r.AnyOf {
		if CoveredBy(granted, s) {
			return "", true
		}
	}
	return r.sufficient, false
}

// join joins scopes with spaces.
func join(scopes []keysv1alpha1.Scope) string {
	var list strings.Builder
	for i, s := range scopes {
		if i > 0 {
			list.WriteByte(' ')
		}
		list.WriteString(string(s))
	}
	return list.String()
}
