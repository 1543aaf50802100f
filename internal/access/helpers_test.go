package access_test

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
)

// newPolicy returns a policy that was created in the given second.
func newPolicy(name string, second int, hosts []keysv1alpha1.Host,
	rules ...keysv1alpha1.AccessRule) keysv1alpha1.AccessPolicy {
	return keysv1alpha1.AccessPolicy{
		ObjectMeta: metav1.ObjectMeta{
			Name:              name,
			CreationTimestamp: metav1.NewTime(time.Unix(int64(second), 0)),
		},
		Spec: keysv1alpha1.AccessPolicySpec{Hosts: hosts, Rules: rules},
	}
}

func hostList(names ...keysv1alpha1.Host) []keysv1alpha1.Host { return names }

func paths(pathType keysv1alpha1.PathMatchType, values []string) []keysv1alpha1.PathMatch {
	matches := make([]keysv1alpha1.PathMatch, len(values))
	for i, value := range values {
		matches[i] = keysv1alpha1.PathMatch{Type: pathType, Value: value}
	}
	return matches
}

func prefixes(values ...string) []keysv1alpha1.PathMatch {
	return paths(keysv1alpha1.PathPrefix, values)
}

func exacts(values ...string) []keysv1alpha1.PathMatch { return paths(keysv1alpha1.PathExact, values) }

// prefix returns a rule that needs a scope on one prefix.
func prefix(value string, scope keysv1alpha1.Scope, methods ...keysv1alpha1.Method) keysv1alpha1.AccessRule {
	return keysv1alpha1.AccessRule{Paths: prefixes(value), Methods: methods, Scopes: []keysv1alpha1.Scope{scope}}
}

// exact returns a rule that needs a scope on one path.
func exact(value string, scope keysv1alpha1.Scope, methods ...keysv1alpha1.Method) keysv1alpha1.AccessRule {
	return keysv1alpha1.AccessRule{Paths: exacts(value), Methods: methods, Scopes: []keysv1alpha1.Scope{scope}}
}

func compile(policies ...keysv1alpha1.AccessPolicy) *access.Matcher { return access.Compile(policies) }

// route returns the requirement of a request, which must have one.
func route(t testing.TB, m *access.Matcher, host, method, path string) *access.Requirement {
	t.Helper()
	requirement, ok := m.Route(host, method, path)
	if !ok {
		t.Fatalf("%s %s%s has no route", method, host, path)
	}
	return requirement
}

// scopeNeeded returns the scope that a request needs, or "refused".
func scopeNeeded(m *access.Matcher, host, method, path string) keysv1alpha1.Scope {
	requirement, ok := m.Route(host, method, path)
	switch {
	case ok != (requirement != nil):
		return "inconsistent"
	case !ok:
		return "refused"
	case len(requirement.Scopes) == 0:
		return ""
	default:
		return requirement.Scopes[0]
	}
}
