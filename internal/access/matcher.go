package access

import (
	"strings"
)

// Matcher finds what a request needs. It is made by Compile and immutable.
type Matcher struct {
	// hosts are by name.
	hosts table[*node]
	// wildcards are by the name below which they match: example.com for *.example.com.
	wildcards table[*node]
	conflicts []Conflict
	// anonymous reports whether any rule needs no key.
	anonymous bool
}

// Route returns what the route of a request needs, or false if no policy declares one: the request is refused then.
// Host and path are as CanonicalHost and CanonicalPath return them. The method is case-sensitive, RFC 9110 section 9.1,
// and a rule for GET does not apply to HEAD.
//
// The host comes first, as in the Gateway API: the name itself, or else the longest wildcard above it (*.example.com
// matches a.example.com and a.b.example.com, not example.com). Only the most specific host that any policy names
// counts, even if the policy has no rules.
//
// Among the host's paths the most specific wins, whichever policy it is from: an Exact path, then the Prefix with the
// most segments. Among that path's rules, those of the oldest policy that has one for the method win, and among those
// the one that names the method, or else the one without methods. If there is none, the request is refused. It never
// falls back to a less specific path, which may need less.
//
// The most specific path is found as the most lenient router would: ignoring case (Express and ASP.NET by default;
// CWE-178), a trailing slash (Express, Spring before 6) and, if the request's whole path isn't declared, a suffix of
// its last segment (Rails, Spring before 5.3). If that path doesn't match the exact spelling of the request, the
// request is refused. So with rules for / and for /api/products, /API/Products and /api/products.json are refused and
// don't fall back to the rule for /; with Exact /api/products, so is /api/products/. If the API serves another spelling
// as something else, a policy can declare both. Unicode normal forms are not compared: a policy for a path beyond ASCII
// applies to the form that it is written in.
func (m *Matcher) Route(host, method, path string) (*Requirement, bool) {
	root := m.host(host)
	if root == nil || path == "" || path[0] != '/' {
		return nil, false
	}
	rules := root.find(path)
	if rules == nil {
		return nil, false
	}
	if named, ok := rules.named.get(method); ok {
		return named, true
	}
	return rules.others, rules.others != nil
}

// host returns the paths of the most specific host that policies name for this one, or nil.
func (m *Matcher) host(host string) *node {
	if root, ok := m.hosts.get(host); ok {
		return root
	}
	for {
		_, parent, ok := strings.Cut(host, ".")
		if !ok {
			return nil
		}
		if root, ok := m.wildcards.get(parent); ok {
			return root
		}
		host = parent
	}
}

// Conflicts returns the rules that are overridden because an older policy, or an earlier rule of the same policy, is
// for the same host, path and method. They are in the order in which policies apply. The result must not be changed.
func (m *Matcher) Conflicts() []Conflict { return m.conflicts }

// HasAnonymous reports whether any rule of any host needs no key. If none does, a request without a valid key can be
// refused without finding its route.
func (m *Matcher) HasAnonymous() bool { return m.anonymous }
