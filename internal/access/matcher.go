package access

import (
	"strings"
)

// Matcher finds what a request needs. Compile makes it, and nothing changes it afterwards.
type Matcher struct {
	// hosts are by name.
	hosts table[*node]
	// wildcards are by the name below which they match: example.com for *.example.com.
	wildcards table[*node]
	conflicts []Conflict
	// anonymous says whether any rule needs no key.
	anonymous bool
}

// Route returns what the route of a request needs, or false where no policy declares one: the request is refused then.
// Host and path are as CanonicalHost and CanonicalPath return them. The method is compared with its case, RFC 9110
// section 9.1, and GET does not stand for HEAD.
//
// The host comes first, as in the Gateway API: the name itself, else the longest wildcard above it (*.example.com
// matches a.example.com and a.b.example.com, not example.com). The most specific host that any policy names decides
// alone, though the policy may have no rules.
//
// Among the host's paths the most specific wins, whichever policy it is from: an Exact path, then the Prefix with the
// most segments. Last, among that path's rules, those of the oldest policy that has one for the method, and of those the
// one that names the method, else the one without methods. Where there is none the request is refused and never left to a
// less specific path, which may well need less.
//
// "Most specific" is judged as the most lenient router would: without regard to case (Express and ASP.NET by default;
// CWE-178), to a trailing slash (Express, Spring before 6) or, where the request's whole path isn't declared, to a
// suffix of its last segment (Rails, Spring before 5.3). If the path so found doesn't match the request as it is
// spelled, the request is refused. So with rules for / and for /api/products, /API/Products and /api/products.json are
// refused and don't fall to the rule for /; with Exact /api/products, /api/products/ is too. A spelling that the API
// does serve apart can be declared beside the other. Normal forms of Unicode are not compared: a policy for a path
// beyond ASCII holds for the one form that it is written in.
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

// Conflicts returns the rules that never decide because an older policy, or an earlier rule of the same policy, is for
// the same host, path and method. They are in the order in which policies are heard. Treat them as read-only.
func (m *Matcher) Conflicts() []Conflict { return m.conflicts }

// HasAnonymous says whether any rule of any host needs no key. Where none does, a request without a valid key is refused
// without a look at its route.
func (m *Matcher) HasAnonymous() bool { return m.anonymous }
