package access_test

import (
	"reflect"
	"slices"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
)

// h is the host of most cases.
var h = hostList("h")

// conflictCases are policies, what a GET of a path (by default /) needs, and which rules are overridden.
var conflictCases = map[string]struct {
	policies  []keysv1alpha1.AccessPolicy
	request   request
	want      keysv1alpha1.Scope
	conflicts []access.Conflict
}{
	"the older policy wins": {
		policies: []keysv1alpha1.AccessPolicy{newPolicy("a", 2, h, prefix("/", "young")),
			newPolicy("b", 1, h, prefix("/", "old"))},
		want:      "old",
		conflicts: []access.Conflict{{Policy: "a", Host: "h", Type: "Prefix", Path: "/", WonBy: "b"}},
	},
	"of the same age the name decides": {
		policies: []keysv1alpha1.AccessPolicy{newPolicy("b", 1, h, prefix("/", "b")),
			newPolicy("a", 1, h, prefix("/", "a"))},
		want:      "a",
		conflicts: []access.Conflict{{Policy: "b", Host: "h", Type: "Prefix", Path: "/", WonBy: "a"}},
	},
	"within a policy the first rule wins": {
		policies: []keysv1alpha1.AccessPolicy{newPolicy("p", 1, h, exact("/", "first", "GET"),
			exact("/", "second", "POST", "GET"))},
		want:      "first",
		conflicts: []access.Conflict{{Policy: "p", Rule: 1, Host: "h", Type: "Exact", Path: "/", Method: "GET", WonBy: "p"}},
	},
	"both rules are named by their place": {
		policies: []keysv1alpha1.AccessPolicy{
			newPolicy("p", 1, h, prefix("/x", "x"), prefix("/y", "y"), prefix("/", "old")),
			newPolicy("q", 2, h, prefix("/z", "z"), prefix("/", "young"))},
		want:      "old",
		conflicts: []access.Conflict{{Policy: "q", Rule: 1, Host: "h", Type: "Prefix", Path: "/", WonBy: "p", WonByRule: 2}},
	},
	"a younger policy's more specific path is no conflict": {
		policies: []keysv1alpha1.AccessPolicy{newPolicy("p", 1, h, prefix("/", "old")),
			newPolicy("q", 2, h, prefix("/x", "young"))},
		request: request{path: "/x"},
		want:    "young",
	},
	"an exact path and a prefix are no conflict": {
		policies: []keysv1alpha1.AccessPolicy{newPolicy("p", 1, h, prefix("/x", "prefix")),
			newPolicy("q", 2, h, exact("/x", "exact"))},
		request: request{path: "/x"},
		want:    "exact",
	},
	"an older rule for every method is for each": {
		policies: []keysv1alpha1.AccessPolicy{newPolicy("p", 1, h, prefix("/", "any")),
			newPolicy("q", 2, h, prefix("/", "get", "GET"))},
		want:      "any",
		conflicts: []access.Conflict{{Policy: "q", Host: "h", Type: "Prefix", Path: "/", Method: "GET", WonBy: "p"}},
	},
	"an older rule for every method but one leaves that": {
		policies: []keysv1alpha1.AccessPolicy{
			newPolicy("p", 1, h, prefix("/", "old", "POST")), newPolicy("q", 2, h, prefix("/", "any")),
			newPolicy("r", 3, h, prefix("/", "get", "GET")),
		},
		want:      "any",
		conflicts: []access.Conflict{{Policy: "r", Host: "h", Type: "Prefix", Path: "/", Method: "GET", WonBy: "q"}},
	},
	"a younger rule for every method is for the rest": {
		policies: []keysv1alpha1.AccessPolicy{newPolicy("p", 1, h, prefix("/", "get", "GET")),
			newPolicy("q", 2, h, prefix("/", "any"))},
		want: "get",
	},
	"within a policy a rule with methods and one without are no conflict": {
		policies: []keysv1alpha1.AccessPolicy{newPolicy("p", 1, h, prefix("/", "any"), prefix("/", "get", "GET"))},
		want:     "get",
	},
	"a prefix with a slash is the one without": {
		policies: []keysv1alpha1.AccessPolicy{newPolicy("p", 1, h, prefix("/x", "old")),
			newPolicy("q", 2, h, prefix("/x/", "young"))},
		request:   request{path: "/x/"},
		want:      "old",
		conflicts: []access.Conflict{{Policy: "q", Host: "h", Type: "Prefix", Path: "/x/", WonBy: "p"}},
	},
	"two spellings are no conflict": {
		policies: []keysv1alpha1.AccessPolicy{newPolicy("p", 1, h, prefix("/x", "old")),
			newPolicy("q", 2, h, prefix("/X", "young"))},
		request: request{path: "/X"},
		want:    "young",
	},
	"only on the host in common, wildcards as they are written": {
		policies: []keysv1alpha1.AccessPolicy{
			newPolicy("p", 1, hostList("a", "*.w"), prefix("/", "old")),
			newPolicy("q", 2, hostList("h", "*.w", "w"), prefix("/", "young"))},
		want:      "young",
		conflicts: []access.Conflict{{Policy: "q", Host: "*.w", Type: "Prefix", Path: "/", WonBy: "p"}},
	},
	"a rule with the same path twice doesn't conflict": {
		policies: []keysv1alpha1.AccessPolicy{newPolicy("p", 1, h, keysv1alpha1.AccessRule{
			Paths: prefixes("/", "/x", "/x/"), Methods: []keysv1alpha1.Method{"GET", "POST"}, Scopes: scopeList{"both"}})},
		request: request{path: "/x"},
		want:    "both",
	},
	"a blank type is a prefix": {
		policies: []keysv1alpha1.AccessPolicy{newPolicy("p", 1, h,
			keysv1alpha1.AccessRule{Paths: paths("", []string{"/x"}), Scopes: scopeList{"x"}})},
		request: request{path: "/x/y"},
		want:    "x",
	},
	"a path that no request has guards its place": {
		policies: []keysv1alpha1.AccessPolicy{newPolicy("p", 1, h, prefix("/", "all"), prefix("x", "x"))},
		request:  request{path: "/x"},
		want:     "refused",
	},
	"no policies": {want: "refused"},
}

func TestCompileConflicts(t *testing.T) {
	for name, test := range conflictCases {
		t.Run(name, func(t *testing.T) {
			if test.request.path == "" {
				test.request.path = "/"
			}
			for range 2 { // In both orders.
				matcher := access.Compile(test.policies)
				if got := scopeNeeded(matcher, "h", "GET", test.request.path); got != test.want {
					t.Errorf("GET %s needs %q", test.request.path, got)
				}
				if got := matcher.Conflicts(); !slices.Equal(got, test.conflicts) {
					t.Errorf("conflicts: %+v", got)
				}
				slices.Reverse(test.policies)
			}
		})
	}
}

func TestCompileNamesThePolicy(t *testing.T) {
	matcher := compile(newPolicy("p", 0, hostList("h"), keysv1alpha1.AccessRule{
		Paths: prefixes("/"), Scopes: scopeList{"a:r"}, AnyOf: scopeList{"b:r", "c:r"},
	}))
	got := route(t, matcher, "h", "GET", "/")
	if got.Policy != "p" || !slices.Equal(got.Scopes, scopeList{"a:r"}) ||
		!slices.Equal(got.AnyOf, scopeList{"b:r", "c:r"}) || got.Anonymous {
		t.Errorf("the requirement is %+v", got)
	}
}

// TestCompileCopies checks that the matcher and the policies don't share memory, because informers share their objects.
func TestCompileCopies(t *testing.T) {
	rule := keysv1alpha1.AccessRule{Paths: prefixes("/x"), Scopes: scopeList{"a:r"}, AnyOf: scopeList{"b:r"}}
	policies := []keysv1alpha1.AccessPolicy{
		newPolicy("b", 2, hostList("h"), rule), newPolicy("a", 1, hostList("g"), rule),
	}
	before := []keysv1alpha1.AccessPolicy{*policies[0].DeepCopy(), *policies[1].DeepCopy()}
	matcher, catalogue := access.Compile(policies), access.NewCatalogue(policies)
	if !reflect.DeepEqual(policies, before) {
		t.Error("compiling changes the policies")
	}
	rule.Scopes[0], rule.AnyOf[0], rule.Paths[0].Value = "z:z", "z:z", "/z"
	got := route(t, matcher, "h", "GET", "/x")
	if got.Scopes[0] != "a:r" || got.AnyOf[0] != "b:r" {
		t.Errorf("the requirement changes with the policy: %+v", got)
	}
	if needed, _ := got.SatisfiedBy(nil); needed != "a:r b:r" || catalogue.Declares("z:z") {
		t.Errorf("needed is %q", needed)
	}
}
