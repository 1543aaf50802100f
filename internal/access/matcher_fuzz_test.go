package access_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
)

// declaredPath is a declared path: its type and its spelling, a prefix without its trailing slash.
type declaredPath struct {
	exact bool
	value string
}

// reference implements the description of Matcher.Route literally, without regard to speed. It returns the policy whose
// rule applies.
func reference(policies []keysv1alpha1.AccessPolicy, host, method, path string) string {
	policies = slices.Clone(policies)
	slices.SortStableFunc(policies, func(a, b keysv1alpha1.AccessPolicy) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	key, ok := mostSpecificHost(policies, host)
	if !ok {
		return ""
	}
	policies = slices.DeleteFunc(policies,
		func(p keysv1alpha1.AccessPolicy) bool { return !slices.Contains(p.Spec.Hosts, key) })
	var rules []keysv1alpha1.AccessRule
	for _, p := range policies {
		rules = append(rules, p.Spec.Rules...)
	}
	decides, ok := mostSpecificPath(rules, path)
	if !ok {
		return ""
	}
	for _, p := range policies {
		for _, named := range []bool{true, false} {
			for _, rule := range p.Spec.Rules {
				fits := len(rule.Methods) == 0
				if named {
					fits = slices.Contains(rule.Methods, keysv1alpha1.Method(method))
				}
				if fits && slices.Contains(declaredPaths(rule), decides) {
					return string(rule.Scopes[0])
				}
			}
		}
	}
	return ""
}

func mostSpecificHost(policies []keysv1alpha1.AccessPolicy, host string) (best keysv1alpha1.Host, ok bool) {
	for _, p := range policies {
		for _, h := range p.Spec.Hosts {
			if string(h) == host {
				return h, true
			}
			if suffix, wildcard := strings.CutPrefix(string(h), "*"); wildcard &&
				strings.HasSuffix(host, suffix) && len(h) > len(best) {
				best, ok = h, true
			}
		}
	}
	return best, ok
}

// mostSpecificPath finds a path by the lenient reading, and reports false if the strict one disagrees.
func mostSpecificPath(rules []keysv1alpha1.AccessRule, path string) (decides declaredPath, ok bool) {
	read := segments(path)
	best := -1
	var candidates, all []declaredPath
	for _, rule := range rules {
		all = append(all, declaredPaths(rule)...)
	}
	for _, d := range all {
		own := segments(d.value)
		if len(own) > len(read) || d.exact && len(own) != len(read) || !equalFold(own, read[:len(own)]) {
			continue
		}
		specificity := 2 * len(own)
		if d.exact {
			specificity++
		}
		if specificity > best {
			best, candidates = specificity, nil
		}
		if specificity == best {
			candidates = append(candidates, d)
		}
	}
	if best < 2*len(read) &&
		slices.ContainsFunc(all, func(d declaredPath) bool { return equalButForSuffix(segments(d.value), read) }) {
		return declaredPath{}, false
	}
	for _, d := range candidates {
		if path == d.value || !d.exact && strings.HasPrefix(path, d.value+"/") {
			return d, true
		}
	}
	return declaredPath{}, false
}

func declaredPaths(rule keysv1alpha1.AccessRule) []declaredPath {
	all := make([]declaredPath, len(rule.Paths))
	for i, p := range rule.Paths {
		all[i] = declaredPath{exact: p.Type == keysv1alpha1.PathExact, value: p.Value}
		if !all[i].exact {
			all[i].value = strings.TrimSuffix(p.Value, "/")
		}
	}
	return all
}

func segments(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

func equalFold(a, b []string) bool { return slices.EqualFunc(a, b, strings.EqualFold) }

func equalButForSuffix(a, b []string) bool {
	if len(a) != len(b) || len(a) == 0 {
		return false
	}
	last := len(a) - 1
	without := func(s string) string {
		if i := strings.Index(s[1:], "."); i >= 0 {
			return s[:1+i]
		}
		return s
	}
	return equalFold(a[:last], b[:last]) && strings.EqualFold(without(a[last]), without(b[last]))
}

// source makes choices from a fuzzer's bytes.
type source struct{ data []byte }

func (s *source) choose(n int) int {
	if len(s.data) == 0 {
		return 0
	}
	b := s.data[0]
	s.data = s.data[1:]
	return int(b) % n
}

func (s *source) path() string {
	alphabet := []string{"a", "b", "A", "B", "a.j", "a.k", "b.j", "A.J", ".a", ".b", "k", "\u212a", "É", "é"}
	var path strings.Builder
	for range s.choose(4) {
		path.WriteString("/" + alphabet[s.choose(len(alphabet))])
	}
	if path.Len() == 0 || s.choose(4) == 0 {
		path.WriteString("/")
	}
	return path.String()
}

// policies makes up to four policies. Each rule needs a different scope, by which it is recognised.
func (s *source) policies() []keysv1alpha1.AccessPolicy {
	names := []keysv1alpha1.Host{"x", "y.x", "*.x", "*.y.x", "z.y.x"}
	methods := []keysv1alpha1.Method{"GET", "PUT", "HEAD"}
	policies := make([]keysv1alpha1.AccessPolicy, s.choose(5))
	for i := range policies {
		policies[i] = newPolicy(string(rune('a'+s.choose(3))), s.choose(3), nil)
		for range s.choose(3) {
			policies[i].Spec.Hosts = append(policies[i].Spec.Hosts, names[s.choose(len(names))])
		}
		for j := range s.choose(6) {
			rule := keysv1alpha1.AccessRule{Scopes: scopeList{keysv1alpha1.Scope([]rune{'p', rune('0' + i),
				'r', rune('0' + j)})}}
			for range 1 + s.choose(2) {
				pathType := []keysv1alpha1.PathMatchType{keysv1alpha1.PathPrefix, keysv1alpha1.PathExact}[s.choose(2)]
				rule.Paths = append(rule.Paths, keysv1alpha1.PathMatch{Type: pathType, Value: s.path()})
			}
			for range s.choose(3) {
				rule.Methods = append(rule.Methods, methods[s.choose(len(methods))])
			}
			policies[i].Spec.Rules = append(policies[i].Spec.Rules, rule)
		}
	}
	return policies
}

func FuzzMatcher(f *testing.F) {
	for seed := range 256 { // A linear congruential generator, so that the seeds alone reach every branch.
		data, state := make([]byte, 512), uint32(seed)
		for i := range data {
			state = state*1664525 + 1013904223
			data[i] = byte(state >> 24)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &source{data}
		policies := s.policies()
		matcher := access.Compile(policies)
		hostNames := []string{"x", "y.x", "z.y.x", "w.z.y.x", "q.x", "q", ""}
		for range 16 {
			host, method, path := hostNames[s.choose(len(hostNames))], []string{"GET", "PUT", "POST"}[s.choose(3)], s.path()
			got := string(scopeNeeded(matcher, host, method, path))
			want := cmp.Or(reference(policies, host, method, path), "refused")
			if got != want {
				t.Fatalf("%s %s%s needs %q, and by the description %q: %+v", method, host, path, got, want, policies)
			}
		}
		for _, c := range matcher.Conflicts() {
			if c.Policy == "" || c.WonBy == "" || c.Host == "" || c.Path == "" || c.Type == "" {
				t.Errorf("%+v is incomplete", c)
			}
		}
	})
}
