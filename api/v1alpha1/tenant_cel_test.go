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
	badUUID     = "must be a UUID such as 3714240b-2e06-4c35-8856-ccc1c096323e"
	badURL      = "must be an http or https URL such as https://your-nexuscommerce.com/api"
	notJustBase = "must have no query, fragment, space, user or password: clients append paths to it, and everybody " +
		"who may read the tenant reads it"
	notAppendable = "its path must have no slash at its end, and no empty, . or .. segments: clients append paths " +
		"such as /products to it"
)

func validTenant() *Tenant {
	return &Tenant{
		ObjectMeta: metav1.ObjectMeta{Name: "acme"},
		Spec: TenantSpec{
			ID:                "3714240b-2e06-4c35-8856-ccc1c096323e",
			APIBaseURL:        "https://your-nexuscommerce.com/api",
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"nexuscommerce.io/tenant": "acme"}},
		},
	}
}

func optionNumber(i int) Expiry { return Expiry(fmt.Sprintf("%dd", i+1)) }

func activeKeyNumber(i int) ActiveKey {
	return ActiveKey{UID: fmt.Sprintf("uid-%d", i), Namespace: "default", Name: "example"}
}

var _ = Describe("Tenant", func() {
	It("has defaults", func(ctx SpecContext) {
		tenant := validTenant()
		Expect(tryCreate(ctx, tenant)).To(Succeed())
		want := validTenant().Spec
		want.Environment = EnvironmentLive
		want.MaxKeys = new(int32(20))
		want.ExpiryOptions = []Expiry{"30d", "90d", "1y", "Never"}
		want.AllowedScopes = []Scope{"*"}
		want.State = TenantActive
		Expect(tenant.Spec).To(Equal(want))
	})

	It("refuses a display name that doesn't only show itself", func(ctx SpecContext) {
		for _, character := range unprintable {
			tenant := validTenant()
			tenant.Spec.DisplayName = "Ac" + character + "me"
			Expect(tryCreate(ctx, tenant)).To(beRefusedWith(fmt.Sprintf(
				"spec.displayName: Invalid value: %q: a name %s", tenant.Spec.DisplayName, notPrintable,
			)), "%q", character)
		}
	})

	DescribeTable("takes", func(ctx SpecContext, change func(*TenantSpec)) {
		tenant := validTenant()
		change(&tenant.Spec)
		Expect(tryCreate(ctx, tenant)).To(Succeed())
	},
		Entry("a UUID in capitals", func(s *TenantSpec) { s.ID = "3714240B-2E06-4C35-8856-CCC1C096323E" }),
		Entry("a display name of 1 character", func(s *TenantSpec) { s.DisplayName = "A" }),
		Entry("a display name of 128 characters", func(s *TenantSpec) { s.DisplayName = strings.Repeat("ü", 128) }),

		Entry("a URL with a port and no path", func(s *TenantSpec) { s.APIBaseURL = "http://localhost:8080" }),
		Entry("a URL with an IPv6 address", func(s *TenantSpec) { s.APIBaseURL = "https://[2001:db8::1]/api" }),
		Entry("a URL with an @ in its path", func(s *TenantSpec) { s.APIBaseURL = "https://example.com/@shop" }),
		Entry("a URL with dots in its path", func(s *TenantSpec) { s.APIBaseURL = "https://a/v1.2/.well-known/...x" }),
		Entry("a URL of 512 characters", func(s *TenantSpec) { s.APIBaseURL = "https://a/" + strings.Repeat("a", 502) }),

		Entry("environment Live", func(s *TenantSpec) { s.Environment = EnvironmentLive }),
		Entry("environment Test", func(s *TenantSpec) { s.Environment = EnvironmentTest }),
		Entry("state Active", func(s *TenantSpec) { s.State = TenantActive }),
		Entry("state Suspended", func(s *TenantSpec) { s.State = TenantSuspended }),
		Entry("no keys", func(s *TenantSpec) { s.MaxKeys = new(int32(0)) }),
		Entry("500 keys", func(s *TenantSpec) { s.MaxKeys = new(int32(500)) }),

		Entry("1 expiry option", func(s *TenantSpec) { s.ExpiryOptions = []Expiry{"45d"} }),
		Entry("16 expiry options", func(s *TenantSpec) { s.ExpiryOptions = many(16, optionNumber) }),
		Entry("1 scope", func(s *TenantSpec) { s.AllowedScopes = []Scope{"orders:*"} }),
		Entry("64 scopes", func(s *TenantSpec) { s.AllowedScopes = many(64, scopeNumber) }),
		Entry("64 blocks", func(s *TenantSpec) { s.AllowedCIDRs = many(64, cidrNumber) }),
		Entry("a selector by expression", func(s *TenantSpec) {
			s.NamespaceSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
				Key: "kubernetes.io/metadata.name", Operator: metav1.LabelSelectorOpIn, Values: []string{"warehouse"},
			}}}
		}),
	)

	DescribeTable("refuses", func(ctx SpecContext, line string, change func(*TenantSpec)) {
		tenant := validTenant()
		change(&tenant.Spec)
		Expect(tryCreate(ctx, tenant)).To(beRefusedWith(line))
	},
		Entry("no id", "spec.id: Required value", func(s *TenantSpec) { s.ID = "" }),
		Entry("an id that is no UUID", `spec.id: Invalid value: "acme": `+badUUID, func(s *TenantSpec) { s.ID = "acme" }),
		Entry("a UUID with a letter that is no digit",
			`spec.id: Invalid value: "3714240b-2e06-4c35-8856-ccc1c096323g": `+badUUID,
			func(s *TenantSpec) { s.ID = "3714240b-2e06-4c35-8856-ccc1c096323g" }),
		Entry("a UUID without hyphens", `spec.id: Invalid value: "3714240b2e064c358856ccc1c096323e": `+badUUID,
			func(s *TenantSpec) { s.ID = "3714240b2e064c358856ccc1c096323e" }),
		Entry("a UUID in braces", `spec.id: Invalid value: "{3714240b-2e06-4c35-8856-ccc1c096323e}": `+badUUID,
			func(s *TenantSpec) { s.ID = "{3714240b-2e06-4c35-8856-ccc1c096323e}" }),
		Entry("an id of 65 characters", "spec.id: Too long: may not be more than 64", func(s *TenantSpec) {
			s.ID = strings.Repeat("a", 65)
		}),
		Entry("a display name of 129 characters", "spec.displayName: Too long: may not be more than 128",
			func(s *TenantSpec) { s.DisplayName = strings.Repeat("a", 129) }),
		Entry(
			"a display name of two lines", `spec.displayName: Invalid value: "a\nb": a name `+notPrintable,
			func(s *TenantSpec) { s.DisplayName = "a\nb" },
		),
		Entry(
			"a display name from right to left", `spec.displayName: Invalid value: "a\u202eb": a name `+notPrintable,
			func(s *TenantSpec) { s.DisplayName = "a\u202eb" },
		),

		Entry(
			"a URL from right to left", `spec.apiBaseURL: Invalid value: "https://a/\u202eb": a URL `+notPrintable,
			func(s *TenantSpec) { s.APIBaseURL = "https://a/\u202eb" },
		),
		Entry("no URL", "spec.apiBaseURL: Required value", func(s *TenantSpec) { s.APIBaseURL = "" }),
		Entry("a host name for a URL", `spec.apiBaseURL: Invalid value: "your-nexuscommerce.com": `+badURL,
			func(s *TenantSpec) { s.APIBaseURL = "your-nexuscommerce.com" }),
		Entry("a URL of another scheme", `spec.apiBaseURL: Invalid value: "ftp://example.com": `+badURL,
			func(s *TenantSpec) { s.APIBaseURL = "ftp://example.com" }),
		Entry("a URL without a host", `spec.apiBaseURL: Invalid value: "https:///api": `+badURL, func(s *TenantSpec) {
			s.APIBaseURL = "https:///api"
		}),
		Entry("a URL with a query", "spec.apiBaseURL: Forbidden: "+notJustBase, func(s *TenantSpec) {
			s.APIBaseURL = "https://example.com/api?key=a"
		}),
		Entry("a URL with a fragment", "spec.apiBaseURL: Forbidden: "+notJustBase, func(s *TenantSpec) {
			s.APIBaseURL = "https://example.com/api#a"
		}),
		Entry("a URL with a password", "spec.apiBaseURL: Forbidden: "+notJustBase, func(s *TenantSpec) {
			s.APIBaseURL = "https://user:password@example.com"
		}),
		Entry("a URL with a space", "spec.apiBaseURL: Forbidden: "+notJustBase, func(s *TenantSpec) {
			s.APIBaseURL = "https://example.com/a b"
		}),
		Entry("a URL with a slash at its end", "spec.apiBaseURL: Forbidden: "+notAppendable,
			func(s *TenantSpec) { s.APIBaseURL = "https://example.com/v1/" }),
		Entry("a URL that is a host and a slash", "spec.apiBaseURL: Forbidden: "+notAppendable,
			func(s *TenantSpec) { s.APIBaseURL = "https://example.com/" }),
		Entry("a URL with an empty segment", "spec.apiBaseURL: Forbidden: "+notAppendable,
			func(s *TenantSpec) { s.APIBaseURL = "https://example.com//v1" }),
		Entry("a URL with an empty segment inside", "spec.apiBaseURL: Forbidden: "+notAppendable,
			func(s *TenantSpec) { s.APIBaseURL = "https://example.com/v1//x" }),
		Entry("a URL that leads upwards", "spec.apiBaseURL: Forbidden: "+notAppendable,
			func(s *TenantSpec) { s.APIBaseURL = "https://example.com/v1/../x" }),
		Entry("a URL that leads upwards, encoded", "spec.apiBaseURL: Forbidden: "+notAppendable,
			func(s *TenantSpec) { s.APIBaseURL = "https://example.com/v1/.%2E/x" }),
		Entry("a URL that ends upwards", "spec.apiBaseURL: Forbidden: "+notAppendable,
			func(s *TenantSpec) { s.APIBaseURL = "https://example.com/v1/.." }),
		Entry("a URL with a dot segment", "spec.apiBaseURL: Forbidden: "+notAppendable,
			func(s *TenantSpec) { s.APIBaseURL = "https://example.com/./v1" }),
		Entry("a URL of 513 characters", "spec.apiBaseURL: Too long: may not be more than 512",
			func(s *TenantSpec) { s.APIBaseURL = "https://a/" + strings.Repeat("a", 503) }),

		Entry("no selector", "spec.namespaceSelector: Required value", func(s *TenantSpec) { s.NamespaceSelector = nil }),
		Entry("an unknown environment", `spec.environment: Unsupported value: "Staging": supported values: "Live", "Test"`,
			func(s *TenantSpec) { s.Environment = "Staging" }),
		Entry("an unknown state", `spec.state: Unsupported value: "Revoked": supported values: "Active", "Suspended"`,
			func(s *TenantSpec) { s.State = "Revoked" }),
		Entry("fewer keys than none",
			"spec.maxKeys: Invalid value: -1: spec.maxKeys in body should be greater than or equal to 0",
			func(s *TenantSpec) { s.MaxKeys = new(int32(-1)) }),
		Entry("501 keys", "spec.maxKeys: Invalid value: 501: spec.maxKeys in body should be less than or equal to 500",
			func(s *TenantSpec) { s.MaxKeys = new(int32(501)) }),

		Entry("an unknown expiry", `spec.expiryOptions[1]: Invalid value: "banana": `+badExpiry, func(s *TenantSpec) {
			s.ExpiryOptions = []Expiry{"30d", "banana"}
		}),
		Entry("a blank expiry",
			"spec.expiryOptions: Invalid value: an option can't be blank: write Never for keys that don't expire",
			func(s *TenantSpec) { s.ExpiryOptions = []Expiry{"30d", ""} }),
		Entry("the same expiry twice", `spec.expiryOptions[1]: Duplicate value: "30d"`, func(s *TenantSpec) {
			s.ExpiryOptions = []Expiry{"30d", "30d"}
		}),
		Entry("17 expiry options", "spec.expiryOptions: Too many: 17: must have at most 16 items", func(s *TenantSpec) {
			s.ExpiryOptions = many(17, optionNumber)
		}),
		Entry("an expiry of 65 characters", "spec.expiryOptions[0]: Too long: may not be more than 64",
			func(s *TenantSpec) { s.ExpiryOptions = []Expiry{Expiry(strings.Repeat("9", 65))} }),

		Entry("a scope that is none", `spec.allowedScopes[0]: Invalid value: "everything": `+badScope, func(s *TenantSpec) {
			s.AllowedScopes = []Scope{"everything"}
		}),
		Entry("the same scope twice", `spec.allowedScopes[1]: Duplicate value: "a:b"`, func(s *TenantSpec) {
			s.AllowedScopes = []Scope{"a:b", "a:b"}
		}),
		Entry("65 scopes", "spec.allowedScopes: Too many: 65: must have at most 64 items", func(s *TenantSpec) {
			s.AllowedScopes = many(65, scopeNumber)
		}),

		Entry("a block that is none", `spec.allowedCIDRs[0]: Invalid value: "garbage": `+badCIDR, func(s *TenantSpec) {
			s.AllowedCIDRs = []CIDR{"garbage"}
		}),
		Entry("a plain address", `spec.allowedCIDRs[0]: Invalid value: "203.0.113.7": `+badCIDR, func(s *TenantSpec) {
			s.AllowedCIDRs = []CIDR{"203.0.113.7"}
		}),
		Entry("host bits", `spec.allowedCIDRs[0]: Invalid value: "203.0.113.7/24": `+hostBits, func(s *TenantSpec) {
			s.AllowedCIDRs = []CIDR{"203.0.113.7/24"}
		}),
		Entry("the same block twice", `spec.allowedCIDRs[1]: Duplicate value: "::/0"`, func(s *TenantSpec) {
			s.AllowedCIDRs = []CIDR{"::/0", "::/0"}
		}),
		Entry("65 blocks", "spec.allowedCIDRs: Too many: 65: must have at most 64 items", func(s *TenantSpec) {
			s.AllowedCIDRs = many(65, cidrNumber)
		}),
	)

	DescribeTable("reads, in what Go would leave out,", func(ctx SpecContext, value any, line string, fields ...string) {
		Expect(tryCreate(ctx, with(validTenant(), value, fields...))).To(beRefusedWith(line))
	},
		Entry("no spec", nil, "spec: Required value", "spec"),
		Entry(
			"an empty display name", "",
			`spec.displayName: Invalid value: "": spec.displayName in body should be at least 1 chars long`, "spec",
			"displayName",
		),
		Entry(
			"no expiry options", []any{},
			"spec.expiryOptions: Invalid value: 0: spec.expiryOptions in body should have at least 1 items", "spec",
			"expiryOptions",
		),
		Entry(
			"no scopes", []any{},
			"spec.allowedScopes: Invalid value: 0: spec.allowedScopes in body should have at least 1 items", "spec",
			"allowedScopes",
		),
		Entry(
			"keys in words", "twenty", `spec.maxKeys: Invalid value: "string": spec.maxKeys in body must be of type integer`,
			"spec", "maxKeys",
		),
	)

	DescribeTable("refuses, empty,", func(ctx SpecContext, value any, path string, fields ...string) {
		Expect(tryCreate(ctx, with(validTenant(), value, fields...))).To(beRefusedAsTooShort(path))
	},
		Entry("an id", "", "spec.id", "spec", "id"),
		Entry("a URL", "", "spec.apiBaseURL", "spec", "apiBaseURL"),
		Entry("a scope", []any{""}, "spec.allowedScopes[0]", "spec", "allowedScopes"),
		Entry("a block", []any{""}, "spec.allowedCIDRs[0]", "spec", "allowedCIDRs"),
	)

	DescribeTable("keeps its id", func(ctx SpecContext, line string, change func(*TenantSpec)) {
		tenant := validTenant()
		create(ctx, tenant)
		change(&tenant.Spec)
		Expect(cp.Client.Update(ctx, tenant)).To(beRefusedWith(line))
	},
		Entry("while everything else changes", accepted, func(s *TenantSpec) {
			id := s.ID
			*s = TenantSpec{
				ID: id, DisplayName: "Acme Ltd", APIBaseURL: "https://example.com", Environment: EnvironmentTest,
				NamespaceSelector: &metav1.LabelSelector{}, State: TenantSuspended,
			}
		}),
		Entry("when it is changed",
			`spec.id: Invalid value: "d2f1a3c4-6a5b-4c7d-8e9f-0a1b2c3d4e5f": id is immutable: create another Tenant`,
			func(s *TenantSpec) { s.ID = "d2f1a3c4-6a5b-4c7d-8e9f-0a1b2c3d4e5f" }),
		Entry("when its letters are changed to capitals",
			`spec.id: Invalid value: "3714240B-2E06-4C35-8856-CCC1C096323E": id is immutable: create another Tenant`,
			func(s *TenantSpec) { s.ID = strings.ToUpper(s.ID) }),
		Entry("when it is removed", "spec.id: Required value", func(s *TenantSpec) { s.ID = "" }),
	)
})

var _ = Describe("Tenant status", func() {
	It("is not written with the spec, nor the spec with it", func(ctx SpecContext) {
		tenant := validTenant()
		tenant.Status.Keys = "0/1000"
		create(ctx, tenant)
		Expect(tenant.Status).To(Equal(TenantStatus{ObservedGeneration: -1}))

		tenant.Status = TenantStatus{ActiveKeys: many(1, activeKeyNumber), Keys: "1/20"}
		tenant.Spec.MaxKeys = new(int32(500))
		Expect(cp.Client.Status().Update(ctx, tenant)).To(Succeed())
		Expect(tenant.Spec.MaxKeys).To(HaveValue(BeEquivalentTo(20)))

		tenant.Status = TenantStatus{}
		tenant.Spec.DisplayName = "Acme Ltd"
		Expect(cp.Client.Update(ctx, tenant)).To(Succeed())
		Expect(reread(ctx, tenant).Status.ActiveKeys).To(HaveLen(1))
	})

	DescribeTable("takes and refuses", func(ctx SpecContext, line string, status TenantStatus) {
		tenant := validTenant()
		create(ctx, tenant)
		tenant.Status = status
		Expect(cp.Client.Status().Update(ctx, tenant, client.DryRunAll)).To(beRefusedWith(line))
	},
		Entry("as much as there may be", accepted, TenantStatus{
			Conditions: many(16, conditionNumber), ObservedGeneration: 1, ActiveKeys: many(500, activeKeyNumber),
			Keys: strings.Repeat("9", 16),
		}),
		Entry("the longest names", accepted, TenantStatus{
			ActiveKeys: []ActiveKey{
				{UID: strings.Repeat("u", 128), Namespace: strings.Repeat("n", 63), Name: strings.Repeat("n", 253)},
			},
		}),
		Entry("the shortest names", accepted, TenantStatus{
			ActiveKeys: []ActiveKey{{UID: "u", Namespace: "n", Name: "n"}}, Keys: "0",
		}),
		Entry("17 conditions", "status.conditions: Too many: 17: must have at most 16 items", TenantStatus{
			Conditions: many(17, conditionNumber),
		}),
		Entry("two conditions of a type", "status.conditions[1]: Duplicate value: ", TenantStatus{
			Conditions: many(2, func(int) metav1.Condition { return conditionNumber(0) }),
		}),
		Entry(
			"a generation before none", "status.observedGeneration: Invalid value: -2: ", TenantStatus{ObservedGeneration: -2},
		),
		Entry("501 active keys", "status.activeKeys: Too many: 501: must have at most 500 items", TenantStatus{
			ActiveKeys: many(501, activeKeyNumber),
		}),
		Entry("two places for a key", "status.activeKeys[1]: Duplicate value: ", TenantStatus{
			ActiveKeys: many(2, func(int) ActiveKey { return activeKeyNumber(0) }),
		}),
		Entry("a place for no UID", "status.activeKeys[0].uid: Required value", TenantStatus{
			ActiveKeys: []ActiveKey{{Namespace: "n", Name: "n"}},
		}),
		Entry("a place in no namespace", "status.activeKeys[0].namespace: Required value", TenantStatus{
			ActiveKeys: []ActiveKey{{UID: "u", Name: "n"}},
		}),
		Entry("a place for no name", "status.activeKeys[0].name: Required value", TenantStatus{
			ActiveKeys: []ActiveKey{{UID: "u", Namespace: "n"}},
		}),
		Entry("a UID of 129 characters", "status.activeKeys[0].uid: Too long: may not be more than 128",
			TenantStatus{ActiveKeys: []ActiveKey{{UID: strings.Repeat("u", 129), Namespace: "n", Name: "n"}}}),
		Entry("a namespace of 64 characters", "status.activeKeys[0].namespace: Too long: may not be more than 63",
			TenantStatus{ActiveKeys: []ActiveKey{{UID: "u", Namespace: strings.Repeat("n", 64), Name: "n"}}}),
		Entry("a name of 254 characters", "status.activeKeys[0].name: Too long: may not be more than 253",
			TenantStatus{ActiveKeys: []ActiveKey{{UID: "u", Namespace: "n", Name: strings.Repeat("n", 254)}}}),
		Entry("a ledger of 17 characters", "status.keys: Too long: may not be more than 16", TenantStatus{
			Keys: strings.Repeat("9", 17),
		}),
	)

	DescribeTable("refuses, empty,", func(ctx SpecContext, value any, path string, fields ...string) {
		tenant := validTenant()
		create(ctx, tenant)
		Expect(cp.Client.Status().Update(ctx, with(tenant, value, fields...), client.DryRunAll)).To(beRefusedAsTooShort(path))
	},
		Entry("a ledger", "", "status.keys", "status", "keys"),
		Entry("a UID", []any{
			map[string]any{"uid": "", "namespace": "n", "name": "n"},
		}, "status.activeKeys[0].uid", "status", "activeKeys"),
		Entry("a namespace", []any{
			map[string]any{"uid": "u", "namespace": "", "name": "n"},
		}, "status.activeKeys[0].namespace", "status", "activeKeys"),
		Entry("a name", []any{
			map[string]any{"uid": "u", "namespace": "n", "name": ""},
		}, "status.activeKeys[0].name", "status", "activeKeys"),
	)
})
