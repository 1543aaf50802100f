package keys

import (
	"cmp"
	"slices"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
)

// CatalogueScope is a scope of the catalogue.
type CatalogueScope struct {
	Name        keysv1alpha1.Scope `json:"name"`
	Description string             `json:"description,omitempty"`
	// Policies are the names of the AccessPolicies that declare the scope.
	Policies []string `json:"policies"`
	// Routes are those that need the scope by its name. A wildcard is named by none, and opens all that it covers.
	Routes []ScopeRoute `json:"routes,omitempty"`
}

// ScopeRoute is a route that needs a scope.
type ScopeRoute struct {
	// Methods are empty for every method.
	Methods []keysv1alpha1.Method `json:"methods,omitempty"`
	Host    keysv1alpha1.Host     `json:"host"`
	Path    string                `json:"path"`
	// Type is how the path is compared.
	Type keysv1alpha1.PathMatchType `json:"type"`
	// With are the other scopes that are also needed.
	With []keysv1alpha1.Scope `json:"with,omitempty"`
	// Or are the other scopes of which one would also do.
	Or []keysv1alpha1.Scope `json:"or,omitempty"`
}

// Catalogue returns the scopes that policies declare, sorted, the wildcards last, with the routes that need each. Rules
// that are never in effect, because an older one takes precedence, are left out.
func Catalogue(policies []keysv1alpha1.AccessPolicy) []CatalogueScope {
	byName := map[keysv1alpha1.Scope]*CatalogueScope{}
	for i := range policies {
		for _, declared := range policies[i].Spec.Scopes {
			listed := byName[declared.Name]
			if listed == nil {
				listed = &CatalogueScope{Name: declared.Name}
				byName[declared.Name] = listed
			}
			listed.Description = cmp.Or(listed.Description, declared.Description)
			listed.Policies = append(listed.Policies, policies[i].Name)
		}
	}
	overruled := access.Compile(policies).Conflicts()
	for i := range policies {
		for j := range policies[i].Spec.Rules {
			for _, route := range routes(&policies[i], j, overruled) {
				addRoute(byName, &policies[i].Spec.Rules[j], route)
			}
		}
	}
	all := make([]CatalogueScope, 0, len(byName))
	for _, listed := range byName {
		all = append(all, *listed)
	}
	slices.SortFunc(all, func(a, b CatalogueScope) int {
		return cmp.Or(cmp.Compare(breadth(a.Name), breadth(b.Name)), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// breadth orders scopes by how much they cover.
func breadth(scope keysv1alpha1.Scope) int {
	switch {
	case scope == "*":
		return 2
	case strings.HasSuffix(string(scope), ":*"):
		return 1
	}
	return 0
}

// routes returns the routes for which a rule is in effect.
func routes(policy *keysv1alpha1.AccessPolicy, rule int, overruled []access.Conflict) []ScopeRoute {
	var all []ScopeRoute
	methods := policy.Spec.Rules[rule].Methods
	for _, path := range policy.Spec.Rules[rule].Paths {
		pathType := cmp.Or(path.Type, keysv1alpha1.PathPrefix)
		for _, host := range policy.Spec.Hosts {
			lost := func(method keysv1alpha1.Method) bool {
				return slices.ContainsFunc(overruled, func(c access.Conflict) bool {
					return c.Policy == policy.Name && c.Rule == rule && c.Host == host && c.Path == path.Value && c.Type == pathType &&
						c.Method == method
				})
			}
			inEffect := slices.DeleteFunc(slices.Clone(methods), lost)
			if len(methods) == 0 && lost("") || len(methods) > 0 && len(inEffect) == 0 {
				continue
			}
			all = append(all, ScopeRoute{Methods: inEffect, Host: host, Path: path.Value, Type: pathType})
		}
	}
	return all
}

// addRoute adds a route to the scopes that its rule names. A scope that nobody declares is in no catalogue.
func addRoute(byName map[keysv1alpha1.Scope]*CatalogueScope, rule *keysv1alpha1.AccessRule, route ScopeRoute) {
	without := func(scopes []keysv1alpha1.Scope, scope keysv1alpha1.Scope) []keysv1alpha1.Scope {
		return slices.DeleteFunc(slices.Clone(scopes), func(s keysv1alpha1.Scope) bool { return s == scope })
	}
	for _, scope := range rule.Scopes {
		if listed := byName[scope]; listed != nil {
			needs := route
			needs.With = without(rule.Scopes, scope)
			listed.Routes = append(listed.Routes, needs)
		}
	}
	for _, scope := range rule.AnyOf {
		if listed := byName[scope]; listed != nil && !slices.Contains(rule.Scopes, scope) {
			needs := route
			needs.With, needs.Or = rule.Scopes, without(rule.AnyOf, scope)
			listed.Routes = append(listed.Routes, needs)
		}
	}
}

// String returns a route in one line: GET,HEAD your-nexuscommerce.com/api/products/… (and orders:read).
func (r *ScopeRoute) String() string {
	var b strings.Builder
	methods := "any method"
	if len(r.Methods) > 0 {
		methods = joined(r.Methods, ",")
	}
	b.WriteString(methods + " " + string(r.Host) + r.Path)
	if r.Type == keysv1alpha1.PathPrefix {
		b.WriteString(strings.Repeat("/", min(1, len(strings.TrimSuffix(r.Path, "/")))) + "…")
	}
	if len(r.With) > 0 {
		b.WriteString(" (and " + joined(r.With, ", ") + ")")
	}
	if len(r.Or) > 0 {
		b.WriteString(" (or " + joined(r.Or, ", ") + ")")
	}
	return b.String()
}

// joined joins values as text.
func joined[T ~string](values []T, separator string) string {
	texts := make([]string, len(values))
	for i := range values {
		texts[i] = string(values[i])
	}
	return strings.Join(texts, separator)
}
