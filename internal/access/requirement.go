package access

import (
	"slices"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// Requirement is what a route needs. It is shared by every request for the route: treat it as read-only.
type Requirement struct {
	// Policy is the name of the AccessPolicy that says so; blank for a requirement made by Require.
	Policy string
	// Rule is the place of the rule that says so in the policy's spec.rules.
	Rule int
	// Scopes are all needed.
	Scopes []keysv1alpha1.Scope
	// AnyOf are scopes of which one is needed, where there are any.
	AnyOf []keysv1alpha1.Scope
	// Anonymous routes need no key at all, and so no scopes. Look at this before asking who calls.
	Anonymous bool

	// age is the place of the policy among all, oldest first.
	age int
	// sufficient is a list of scopes that satisfies the requirement, as SatisfiedBy returns it.
	sufficient string
}

// Require makes a requirement for scopes that are fixed in a proxy's configuration. All of them are needed.
func Require(scopes ...keysv1alpha1.Scope) *Requirement {
	return newRequirement(scopes, nil, false)
}

// newRequirement copies what it is given, so that nothing done to an AccessPolicy later changes what was compiled.
// Scopes outrank anonymous: the schema admits no rule with both, and if one came anyhow it would need its scopes.
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

// SatisfiedBy reports whether the granted scopes are enough: they cover all of Scopes, and one of AnyOf where there are
// any. Where they are not, needed lists scopes that would be, separated by spaces, in the form and the meaning of the
// challenge's scope attribute: "the required scope of the access token for accessing the requested resource", RFC 6750
// section 3. That is the whole list and not only what is missing, and of AnyOf the first, so that the list suffices and
// asks for no more than that. It is computed when policies are compiled.
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

// join lists scopes with a space between them.
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
