package access

import (
	"slices"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

const (
	// everything is the scope that covers all others.
	everything keysv1alpha1.Scope = "*"
	// maxScope is the length of the longest scope that the schema admits.
	maxScope = 128
)

// Covers reports whether a key with the granted scope may do what the wanted scope stands for: * covers every scope,
// products:* covers products:read and itself, and every other scope covers only itself. Nothing covers a blank scope.
func Covers(granted, wanted keysv1alpha1.Scope) bool {
	if wanted == "" {
		return false
	}
	if granted == everything || granted == wanted {
		return true
	}
	resource, ok := strings.CutSuffix(string(granted), ":*")
	return ok && resource != "" &&
		len(wanted) > len(resource)+1 && string(wanted[:len(resource)]) == resource && wanted[len(resource)] == ':'
}

// CoveredBy reports whether any of the granted scopes covers the wanted one.
func CoveredBy(granted []keysv1alpha1.Scope, wanted keysv1alpha1.Scope) bool {
	for _, g := range granted {
		if Covers(g, wanted) {
			return true
		}
	}
	return false
}

// Narrowed returns the intersection of two lists of scopes. Of a scope and one that it covers, the result has the
// narrower: the intersection of * and products:read is products:read.
func Narrowed(a, b []keysv1alpha1.Scope) []keysv1alpha1.Scope {
	var common []keysv1alpha1.Scope
	for _, scope := range a {
		if CoveredBy(b, scope) {
			common = append(common, scope)
		}
	}
	for _, scope := range b { // Those that are in both by name are there already.
		if CoveredBy(a, scope) && !slices.Contains(a, scope) {
			common = append(common, scope)
		}
	}
	return common
}

// ValidScope reports whether a string is a scope according to the schema: resource:action, resource:* or *, in
// lower-case letters, digits and hyphens (not at either end), at most 128 characters. It is for scopes from a proxy's
// configuration, which the schema does not check.
func ValidScope(s string) bool {
	if s == string(everything) {
		return true
	}
	resource, action, ok := strings.Cut(s, ":")
	return ok && len(s) <= maxScope && validName(resource) && (action == "*" || validName(action))
}

// ParseScopes reads scopes separated by white space, from a proxy's configuration. It is false if there is none, or if
// one of them is invalid.
func ParseScopes(list string) (scopes []keysv1alpha1.Scope, ok bool) {
	for scope := range strings.FieldsSeq(list) {
		if !ValidScope(scope) {
			return nil, false
		}
		scopes = append(scopes, keysv1alpha1.Scope(scope))
	}
	return scopes, len(scopes) > 0
}

// validName reports whether s matches [a-z0-9]([-a-z0-9]*[a-z0-9])?.
func validName(s string) bool {
	if s == "" || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
