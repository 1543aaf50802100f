package v1alpha1_test

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	. "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// The rules' messages.
const (
	badHost = "must be a lower-case host name without scheme, port or trailing dot, such as api.example.com or " +
		"*.example.com"
	notASCII = "must be in ASCII: write an internationalised name in its ASCII form (punycode), such as " +
		"xn--bcher-kva.example for bücher.example"
	badAddress = "must be an IPv6 address in brackets in its shortest form, without a port, such as [2001:db8::1]"
	badMethod  = "must be an HTTP method in upper case, such as GET; a rule without methods is for every method"
	badSegment = "must have no empty, . or .. segments: no request with such a path is ever let through"
	badInPath  = "must have no ?, #, ;, %, backslash or control character: no request with such a path is ever let " +
		"through"
	noWildcards = "must have no *, { or }: paths are compared literally, and type Prefix covers every path below value"
	noScopes    = "a rule that needs no key can't need scopes: remove anonymous, or scopes and anyOf"
)

func validAccessPolicy() *AccessPolicy {
	return &AccessPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "nexuscommerce"},
		Spec:       AccessPolicySpec{Rules: []AccessRule{{Paths: []PathMatch{{Value: "/api"}}}}},
	}
}

func hostNumber(i int) Host { return Host(fmt.Sprintf("host-%d.example.com", i)) }

func declarationNumber(i int) ScopeDeclaration { return ScopeDeclaration{Name: scopeNumber(i)} }

func ruleNumber(i int) AccessRule { return AccessRule{Paths: []PathMatch{pathNumber(i)}} }

func pathNumber(i int) PathMatch { return PathMatch{Value: fmt.Sprintf("/api/%d", i)} }

func methodNumber(i int) Method { return "M-" + Method(rune('A'+i)) }

var _ = Describe("AccessPolicy", func() {
	It("is stored as it is, without defaults, so that client-side apply changes nothing", func(ctx SpecContext) {
		policy := validAccessPolicy()
		Expect(tryCreate(ctx, policy)).To(Succeed())
		Expect(policy.Spec).To(Equal(validAccessPolicy().Spec))
	})

	It("refuses a description that doesn't only show itself", func(ctx SpecContext) {
		for _, character := range unprintable {
			policy := validAccessPolicy()
			description := "Read" + character + "all"
			policy.Spec.Scopes = []ScopeDeclaration{{Name: "a:b", Description: description}}
			Expect(tryCreate(ctx, policy)).To(beRefusedWith(fmt.Sprintf(
				"spec.scopes[0].description: Invalid value: %q: a description %s", description, notPrintable,
			)), "%q", character)
		}
	})

	DescribeTable("takes", func(ctx SpecContext, change func(*AccessPolicySpec)) {
		policy := validAccessPolicy()
		change(&policy.Spec)
		Expect(tryCreate(ctx, policy)).To(Succeed())
	},
		Entry("scopes and no rules", func(s *AccessPolicySpec) { *s = AccessPolicySpec{Scopes: many(1, declarationNumber)} }),
		Entry("hosts", func(s *AccessPolicySpec) {
			s.Hosts = []Host{
				"your-nexuscommerce.com", "*.example.com", "localhost", "203.0.113.7", "[2001:db8::1]", "xn--bcher-kva.example",
				"a",
			}
		}),
		Entry("32 hosts", func(s *AccessPolicySpec) { s.Hosts = many(32, hostNumber) }),
		Entry("a host of 253 characters", func(s *AccessPolicySpec) { s.Hosts = []Host{Host(strings.Repeat("a", 253))} }),

		Entry("256 scopes", func(s *AccessPolicySpec) { s.Scopes = many(256, declarationNumber) }),
		Entry("descriptions of 1 and 256 characters", func(s *AccessPolicySpec) {
			s.Scopes = []ScopeDeclaration{{Name: "a:b", Description: "x"}, {Name: "*", Description: strings.Repeat("ü", 256)}}
		}),

		Entry("256 rules", func(s *AccessPolicySpec) { s.Rules = many(256, ruleNumber) }),
		Entry("16 paths", func(s *AccessPolicySpec) { s.Rules[0].Paths = many(16, pathNumber) }),
		Entry("paths of every type", func(s *AccessPolicySpec) {
			s.Rules[0].Paths = []PathMatch{{Type: PathPrefix, Value: "/"}, {Type: PathExact, Value: "/"}}
		}),
		Entry("paths with dots, colons, spaces and other letters", func(s *AccessPolicySpec) {
			s.Rules[0].Paths = []PathMatch{
				{Value: "/.well-known/..x/a..b/c."}, {Value: "/v1/orders:cancel"}, {Value: "/a b/bücher/~me/@x,y=(z)"},
			}
		}),
		Entry(
			"a path of 512 characters", func(s *AccessPolicySpec) { s.Rules[0].Paths[0].Value = "/" + strings.Repeat("a", 511) },
		),
		Entry("16 methods", func(s *AccessPolicySpec) { s.Rules[0].Methods = many(16, methodNumber) }),
		Entry("methods of 1 and 20 characters", func(s *AccessPolicySpec) {
			s.Rules[0].Methods = []Method{"A", "VERSION-CONTROL-LONG"}
		}),
		Entry("16 scopes, all needed", func(s *AccessPolicySpec) { s.Rules[0].Scopes = many(16, scopeNumber) }),
		Entry("16 scopes, one of them needed", func(s *AccessPolicySpec) { s.Rules[0].AnyOf = many(16, scopeNumber) }),
		Entry("scopes of both kinds", func(s *AccessPolicySpec) {
			s.Rules[0].Scopes, s.Rules[0].AnyOf = []Scope{"a:b"}, []Scope{"c:d", "*"}
		}),
		Entry("a rule that needs no key", func(s *AccessPolicySpec) { s.Rules[0].Anonymous = new(true) }),
		Entry("a rule that needs a key, and scopes", func(s *AccessPolicySpec) {
			s.Rules[0].Anonymous, s.Rules[0].Scopes, s.Rules[0].AnyOf = new(false), []Scope{"a:b"}, []Scope{"c:d"}
		}),
	)

	DescribeTable("refuses", func(ctx SpecContext, line string, change func(*AccessPolicySpec)) {
		policy := validAccessPolicy()
		change(&policy.Spec)
		Expect(tryCreate(ctx, policy)).To(beRefusedWith(line))
	},
		Entry("a host in capitals", `spec.hosts[0]: Invalid value: "API.example.com": `+badHost, func(s *AccessPolicySpec) {
			s.Hosts = []Host{"API.example.com"}
		}),
		Entry("a URL for a host", `spec.hosts[1]: Invalid value: "https://example.com": `+badHost, func(s *AccessPolicySpec) {
			s.Hosts = []Host{"a", "https://example.com"}
		}),
		Entry("a host with a port", `spec.hosts[0]: Invalid value: "example.com:443": `+badHost, func(s *AccessPolicySpec) {
			s.Hosts = []Host{"example.com:443"}
		}),
		Entry(
			"a host with a trailing dot", `spec.hosts[0]: Invalid value: "example.com.": `+badHost,
			func(s *AccessPolicySpec) { s.Hosts = []Host{"example.com."} },
		),
		Entry(
			"every host", `spec.hosts[0]: Invalid value: "*": `+badHost, func(s *AccessPolicySpec) { s.Hosts = []Host{"*"} },
		),
		Entry("a wildcard inside a host", `spec.hosts[0]: Invalid value: "api.*.com": `+badHost, func(s *AccessPolicySpec) {
			s.Hosts = []Host{"api.*.com"}
		}),
		Entry("an internationalised host", `spec.hosts[0]: Invalid value: "bücher.example": `+notASCII,
			func(s *AccessPolicySpec) { s.Hosts = []Host{"bücher.example"} }),
		Entry("an IPv6 address, not the shortest", `spec.hosts[0]: Invalid value: "[2001:db8:0::1]": `+badAddress,
			func(s *AccessPolicySpec) { s.Hosts = []Host{"[2001:db8:0::1]"} }),
		Entry("an IPv6 address in capitals", `spec.hosts[0]: Invalid value: "[2001:DB8::1]": `+badAddress,
			func(s *AccessPolicySpec) { s.Hosts = []Host{"[2001:DB8::1]"} }),
		Entry("an IPv6 address with a port", `spec.hosts[0]: Invalid value: "[2001:db8::1]:443": `+badAddress,
			func(s *AccessPolicySpec) { s.Hosts = []Host{"[2001:db8::1]:443"} }),
		Entry("an IPv4 address in brackets", `spec.hosts[0]: Invalid value: "[203.0.113.7]": `+badAddress,
			func(s *AccessPolicySpec) { s.Hosts = []Host{"[203.0.113.7]"} }),
		Entry("the same host twice", `spec.hosts[1]: Duplicate value: "a"`, func(s *AccessPolicySpec) {
			s.Hosts = []Host{"a", "a"}
		}),
		Entry("33 hosts", "spec.hosts: Too many: 33: must have at most 32 items", func(s *AccessPolicySpec) {
			s.Hosts = many(33, hostNumber)
		}),
		Entry("a host of 254 characters", "spec.hosts[0]: Too long: may not be more than 253", func(s *AccessPolicySpec) {
			s.Hosts = []Host{Host(strings.Repeat("a", 254))}
		}),

		Entry(
			"a scope that is none", `spec.scopes[0].name: Invalid value: "everything": `+badScope,
			func(s *AccessPolicySpec) { s.Scopes = []ScopeDeclaration{{Name: "everything"}} },
		),
		Entry("a scope without a name", "spec.scopes[0].name: Required value", func(s *AccessPolicySpec) {
			s.Scopes = []ScopeDeclaration{{Description: "x"}}
		}),
		Entry("a scope of 129 characters", "spec.scopes[0].name: Too long: may not be more than 128",
			func(s *AccessPolicySpec) {
				s.Scopes = []ScopeDeclaration{{Name: "a:" + Scope(strings.Repeat("b", 127))}}
			}),
		Entry("the same scope twice", `spec.scopes[1]: Duplicate value: {"name":"a:b"}`, func(s *AccessPolicySpec) {
			s.Scopes = []ScopeDeclaration{{Name: "a:b"}, {Name: "a:b"}}
		}),
		Entry("257 scopes", "spec.scopes: Too many: 257: must have at most 256 items", func(s *AccessPolicySpec) {
			s.Scopes = many(257, declarationNumber)
		}),
		Entry("a description of 257 characters", "spec.scopes[0].description: Too long: may not be more than 256",
			func(s *AccessPolicySpec) {
				s.Scopes = []ScopeDeclaration{{Name: "a:b", Description: strings.Repeat("x", 257)}}
			}),
		Entry("a description of two lines", `spec.scopes[0].description: Invalid value: "a\nb": a description `+notPrintable,
			func(s *AccessPolicySpec) { s.Scopes = []ScopeDeclaration{{Name: "a:b", Description: "a\nb"}} }),
		Entry("a description that clears the screen",
			`spec.scopes[0].description: Invalid value: "\x1b[2J": a description `+notPrintable,
			func(s *AccessPolicySpec) { s.Scopes = []ScopeDeclaration{{Name: "a:b", Description: "\x1b[2J"}} }),

		Entry("257 rules", "spec.rules: Too many: 257: must have at most 256 items", func(s *AccessPolicySpec) {
			s.Rules = many(257, ruleNumber)
		}),
		Entry(
			"a rule without paths", "spec.rules[0].paths: Required value", func(s *AccessPolicySpec) { s.Rules[0].Paths = nil },
		),
		Entry("17 paths", "spec.rules[0].paths: Too many: 17: must have at most 16 items", func(s *AccessPolicySpec) {
			s.Rules[0].Paths = many(17, pathNumber)
		}),
		Entry("an unknown type of path",
			`spec.rules[0].paths[0].type: Unsupported value: "Regex": supported values: "Prefix", "Exact"`,
			func(s *AccessPolicySpec) { s.Rules[0].Paths[0].Type = "Regex" }),
		Entry("a path without a value", "spec.rules[0].paths[0].value: Required value", onlyPath("")),
		Entry("a relative path", `spec.rules[0].paths[0].value: Invalid value: "api": must start with /`, onlyPath("api")),
		Entry(
			"an empty segment", `spec.rules[0].paths[0].value: Invalid value: "/api//orders": `+badSegment,
			onlyPath("/api//orders"),
		),
		Entry(
			"this folder", `spec.rules[0].paths[0].value: Invalid value: "/api/./orders": `+badSegment,
			onlyPath("/api/./orders"),
		),
		Entry("the folder above", `spec.rules[0].paths[0].value: Invalid value: "/api/..": `+badSegment, onlyPath("/api/..")),
		Entry("a query", `spec.rules[0].paths[0].value: Invalid value: "/api?a": `+badInPath, onlyPath("/api?a")),
		Entry("a fragment", `spec.rules[0].paths[0].value: Invalid value: "/api#a": `+badInPath, onlyPath("/api#a")),
		Entry("path parameters", `spec.rules[0].paths[0].value: Invalid value: "/api;a": `+badInPath, onlyPath("/api;a")),
		Entry("an encoded path", `spec.rules[0].paths[0].value: Invalid value: "/api%2fa": `+badInPath, onlyPath("/api%2fa")),
		Entry("a backslash", `spec.rules[0].paths[0].value: Invalid value: "/api\\a": `+badInPath, onlyPath(`/api\a`)),
		Entry("a control character", `spec.rules[0].paths[0].value: Invalid value: "/api\ta": `+badInPath,
			onlyPath("/api\ta")),
		Entry(
			"the control character at the end of ASCII", `spec.rules[0].paths[0].value: Invalid value: "/api\x7f": `+badInPath,
			onlyPath("/api\x7f"),
		),
		Entry("a wildcard", `spec.rules[0].paths[0].value: Invalid value: "/api/*": `+noWildcards, onlyPath("/api/*")),
		Entry(
			"a path template", `spec.rules[0].paths[0].value: Invalid value: "/api/orders/{id}": `+noWildcards,
			onlyPath("/api/orders/{id}"),
		),
		Entry(
			"a path of 513 characters", "spec.rules[0].paths[0].value: Too long: may not be more than 512",
			onlyPath("/"+strings.Repeat("a", 512)),
		),

		Entry(
			"a method in small letters", `spec.rules[0].methods[0]: Invalid value: "get": `+badMethod,
			func(s *AccessPolicySpec) { s.Rules[0].Methods = []Method{"get"} },
		),
		Entry(
			"several methods in one", `spec.rules[0].methods[0]: Invalid value: "GET,HEAD": `+badMethod,
			func(s *AccessPolicySpec) { s.Rules[0].Methods = []Method{"GET,HEAD"} },
		),
		Entry("every method", `spec.rules[0].methods[0]: Invalid value: "*": `+badMethod, func(s *AccessPolicySpec) {
			s.Rules[0].Methods = []Method{"*"}
		}),
		Entry("the same method twice", `spec.rules[0].methods[1]: Duplicate value: "GET"`, func(s *AccessPolicySpec) {
			s.Rules[0].Methods = []Method{"GET", "GET"}
		}),
		Entry("17 methods", "spec.rules[0].methods: Too many: 17: must have at most 16 items", func(s *AccessPolicySpec) {
			s.Rules[0].Methods = many(17, methodNumber)
		}),
		Entry(
			"a method of 21 characters", "spec.rules[0].methods[0]: Too long: may not be more than 20",
			func(s *AccessPolicySpec) { s.Rules[0].Methods = []Method{Method(strings.Repeat("A", 21))} },
		),

		Entry(
			"a needed scope that is none", `spec.rules[0].scopes[0]: Invalid value: "everything": `+badScope,
			func(s *AccessPolicySpec) { s.Rules[0].Scopes = []Scope{"everything"} },
		),
		Entry("a needed scope of 129 characters", "spec.rules[0].scopes[0]: Too long: may not be more than 128",
			func(s *AccessPolicySpec) { s.Rules[0].Scopes = []Scope{"a:" + Scope(strings.Repeat("b", 127))} }),
		Entry("the same needed scope twice", `spec.rules[0].scopes[1]: Duplicate value: "a:b"`, func(s *AccessPolicySpec) {
			s.Rules[0].Scopes = []Scope{"a:b", "a:b"}
		}),
		Entry(
			"17 needed scopes", "spec.rules[0].scopes: Too many: 17: must have at most 16 items",
			func(s *AccessPolicySpec) { s.Rules[0].Scopes = many(17, scopeNumber) },
		),
		Entry(
			"an alternative that is none", `spec.rules[0].anyOf[0]: Invalid value: "everything": `+badScope,
			func(s *AccessPolicySpec) { s.Rules[0].AnyOf = []Scope{"everything"} },
		),
		Entry("an alternative of 129 characters", "spec.rules[0].anyOf[0]: Too long: may not be more than 128",
			func(s *AccessPolicySpec) { s.Rules[0].AnyOf = []Scope{"a:" + Scope(strings.Repeat("b", 127))} }),
		Entry("the same alternative twice", `spec.rules[0].anyOf[1]: Duplicate value: "a:b"`, func(s *AccessPolicySpec) {
			s.Rules[0].AnyOf = []Scope{"a:b", "a:b"}
		}),
		Entry("17 alternatives", "spec.rules[0].anyOf: Too many: 17: must have at most 16 items", func(s *AccessPolicySpec) {
			s.Rules[0].AnyOf = many(17, scopeNumber)
		}),

		Entry("scopes without a key", "spec.rules[1].anonymous: Invalid value: "+noScopes, func(s *AccessPolicySpec) {
			s.Rules = append(s.Rules, AccessRule{Paths: many(1, pathNumber), Anonymous: new(true), Scopes: []Scope{"a:b"}})
		}),
		Entry("alternatives without a key", "spec.rules[0].anonymous: Invalid value: "+noScopes, func(s *AccessPolicySpec) {
			s.Rules[0].Anonymous, s.Rules[0].AnyOf = new(true), []Scope{"a:b"}
		}),
	)

	DescribeTable("reads, in what Go would leave out,", func(ctx SpecContext, spec map[string]any, line string) {
		Expect(tryCreate(ctx, with(validAccessPolicy(), spec, "spec"))).To(beRefusedWith(line))
	},
		Entry(
			"no paths", ruleWith("paths", []any{}),
			"spec.rules[0].paths: Invalid value: 0: spec.rules[0].paths in body should have at least 1 items",
		),
		Entry(
			"no scopes, which would let every key pass", ruleWith("scopes", []any{}),
			"spec.rules[0].scopes: Invalid value: 0: spec.rules[0].scopes in body should have at least 1 items",
		),
		Entry(
			"no alternatives", ruleWith("anyOf", []any{}),
			"spec.rules[0].anyOf: Invalid value: 0: spec.rules[0].anyOf in body should have at least 1 items",
		),
		Entry("an empty description", map[string]any{"scopes": []any{map[string]any{"name": "a:b", "description": ""}}},
			`spec.scopes[0].description: Invalid value: "": spec.scopes[0].description in body should be at least 1 chars long`),
	)

	DescribeTable("refuses, empty,", func(ctx SpecContext, spec map[string]any, path string) {
		Expect(tryCreate(ctx, with(validAccessPolicy(), spec, "spec"))).To(beRefusedAsTooShort(path))
	},
		Entry("a host", map[string]any{"hosts": []any{""}}, "spec.hosts[0]"),
		Entry("a scope", map[string]any{"scopes": []any{map[string]any{"name": ""}}}, "spec.scopes[0].name"),
		Entry("a path", ruleWith("paths", []any{map[string]any{"value": ""}}), "spec.rules[0].paths[0].value"),
		Entry("a method", ruleWith("methods", []any{""}), "spec.rules[0].methods[0]"),
		Entry("a needed scope", ruleWith("scopes", []any{""}), "spec.rules[0].scopes[0]"),
		Entry("an alternative", ruleWith("anyOf", []any{""}), "spec.rules[0].anyOf[0]"),
	)

	It("must have a spec", func(ctx SpecContext) {
		Expect(tryCreate(ctx, with(validAccessPolicy(), nil, "spec"))).To(beRefusedWith("spec: Required value"))
	})
})

var _ = Describe("AccessPolicy status", func() {
	It("is not written with the spec, nor the spec with it", func(ctx SpecContext) {
		policy := validAccessPolicy()
		policy.Status.Rules = new(int32(7))
		create(ctx, policy)
		Expect(policy.Status).To(Equal(AccessPolicyStatus{ObservedGeneration: -1}))

		policy.Status.Rules = new(int32(1))
		policy.Spec.Hosts = []Host{"another.example.com"}
		Expect(cp.Client.Status().Update(ctx, policy)).To(Succeed())
		Expect(policy.Spec.Hosts).To(Equal(validAccessPolicy().Spec.Hosts))
		Expect(policy.Generation).To(BeEquivalentTo(1))

		policy.Status = AccessPolicyStatus{}
		policy.Spec.Hosts = []Host{"another.example.com"}
		Expect(cp.Client.Update(ctx, policy)).To(Succeed())
		Expect(reread(ctx, policy).Status.Rules).To(HaveValue(BeEquivalentTo(1)))
		Expect(policy.Generation).To(BeEquivalentTo(2))
	})

	DescribeTable("takes and refuses", func(ctx SpecContext, line string, status AccessPolicyStatus) {
		policy := validAccessPolicy()
		create(ctx, policy)
		policy.Status = status
		Expect(cp.Client.Status().Update(ctx, policy, client.DryRunAll)).To(beRefusedWith(line))
	},
		Entry("as much as there may be", accepted, AccessPolicyStatus{
			Conditions: many(16, conditionNumber), ObservedGeneration: 1, Rules: new(int32(256)),
		}),
		Entry("no rules", accepted, AccessPolicyStatus{Rules: new(int32(0))}),
		Entry("17 conditions", "status.conditions: Too many: 17: must have at most 16 items", AccessPolicyStatus{
			Conditions: many(17, conditionNumber),
		}),
		Entry("two conditions of a type", "status.conditions[1]: Duplicate value: ", AccessPolicyStatus{
			Conditions: many(2, func(int) metav1.Condition { return conditionNumber(0) }),
		}),
		Entry("a generation before none", "status.observedGeneration: Invalid value: -2: ", AccessPolicyStatus{
			ObservedGeneration: -2,
		}),
		Entry("fewer than no rules", "status.rules: Invalid value: -1: ", AccessPolicyStatus{Rules: new(int32(-1))}),
	)
})

// onlyPath changes the only path of the only rule.
func onlyPath(value string) func(*AccessPolicySpec) {
	return func(s *AccessPolicySpec) { s.Rules[0].Paths[0].Value = value }
}

// ruleWith returns a spec with one rule, in which one field has a value that the Go types can't express.
func ruleWith(field string, value any) map[string]any {
	rule := map[string]any{"paths": []any{map[string]any{"value": "/api"}}}
	rule[field] = value
	return map[string]any{"rules": []any{rule}}
}
