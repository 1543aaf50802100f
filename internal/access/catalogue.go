package access

import (
	"maps"
	"slices"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// Catalogue is the set of scopes that AccessPolicies declare. It is immutable.
type Catalogue struct {
	declared map[keysv1alpha1.Scope]struct{}
	// hints are the scopes that Nearest may return, sorted: the declared ones, and resource:* for the resource of each. It
	// never has *, which should not be suggested to anyone.
	hints []keysv1alpha1.Scope
}

// NewCatalogue returns the scopes that the policies declare.
func NewCatalogue(policies []keysv1alpha1.AccessPolicy) *Catalogue {
	declared := map[keysv1alpha1.Scope]struct{}{}
	hints := map[keysv1alpha1.Scope]struct{}{}
	for i := range policies {
		for _, declaration := range policies[i].Spec.Scopes {
			declared[declaration.Name] = struct{}{}
			if resource, _, ok := strings.Cut(string(declaration.Name), ":"); ok {
				hints[declaration.Name] = struct{}{}
				hints[keysv1alpha1.Scope(resource+":*")] = struct{}{}
			}
		}
	}
	return &Catalogue{declared: declared, hints: slices.Sorted(maps.Keys(hints))}
}

// Declares reports whether a key may ask for the scope: a policy declares it by that name or, for resource:* and *, a
// policy declares at least one scope that it covers. A declared wildcard does not declare the scopes that it covers.
func (c *Catalogue) Declares(scope keysv1alpha1.Scope) bool {
	if _, ok := c.declared[scope]; ok {
		return true
	}
	for d := range c.declared {
		if Covers(scope, d) {
			return true
		}
	}
	return false
}

// Nearest returns the declared scope that was most likely meant by one that is not, and whether any is similar enough
// to be suggested: about one typing error in four characters. For a concrete scope it returns a concrete one, and for
// resource:* another resource:*. Of two equally near ones it returns the alphabetically first.
func (c *Catalogue) Nearest(scope keysv1alpha1.Scope) (keysv1alpha1.Scope, bool) {
	wildcard := strings.HasSuffix(string(scope), ":*")
	nearest, distance := keysv1alpha1.Scope(""), len(scope)/4+1
	for _, hint := range c.hints {
		if strings.HasSuffix(string(hint), ":*") != wildcard {
			continue
		}
		if d := editDistance(string(scope), string(hint)); d < distance {
			nearest, distance = hint, d
		}
	}
	return nearest, nearest != ""
}

// editDistance returns the number of insertions, deletions, replacements and swaps of neighbours that turn one string
// into the other (optimal string alignment). Scopes are ASCII, so bytes are characters.
func editDistance(a, b string) int {
	before, previous, current := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := previous[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			current[j] = min(replaced, previous[j]+1, current[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return previous[len(b)]
}
