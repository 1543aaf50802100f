package v1alpha1_test

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	. "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// The rules' messages.
const (
	badScope = "a scope is resource:action, resource:* or *, in lower-case letters, digits and hyphens, such as " +
		"products:read"
	badPeriod = "a period is a number up to 99999 with the unit s, h, d or w, such as 12h or 30d"
	badExpiry = "an expiry is a number with the unit s, h, d or w (up to 99999) or y (up to 99), such as 30d, 90d " +
		"or 1y, or Never"
	badCIDR = "must be an IPv4 or IPv6 block such as 203.0.113.0/24 or 2001:db8::/32; a single address is written " +
		"203.0.113.7/32"
	hostBits = "has bits set after the prefix: write the block's first address, such as 203.0.113.0/24, or /32 " +
		"(IPv6: /128) for a single address"
	tooLong  = "overlap must be shorter than every: at most two tokens of a key are valid at a time"
	tooOften = "a token is replaced on schedule once an hour at most: write 1h or longer; for another token now, " +
		"set the annotation keys.nexuscommerce.io/rotateAt"
	notPrintable = "must have no line breaks, control characters, marks of direction or invisible characters"
)

// unprintable are characters of every kind that is not printable, at the ends of their ranges.
var unprintable = []string{
	"\x00", "\t", "\n", "\r", "\x1b", "\x1f", "\x7f", "\u0080", "\u009f", "\u061c", "\u200b", "\u200e", "\u200f", "\u2028",
	"\u2029", "\u202a", "\u202e",
	"\u2060", "\u2066", "\u2069", "\ufeff", "\ufff9", "\U000e0001", "\U000e007f",
	"\u00ad", "\u115f", "\u1160", "\u180e", "\u3164", "\uffa0", "\U0001d173", "\U0001d17a",
}

func validApiKey() *ApiKey {
	return &ApiKey{
		ObjectMeta: metav1.ObjectMeta{Name: "example", Namespace: "default"},
		Spec:       ApiKeySpec{Scopes: []Scope{"products:read"}},
	}
}

func scopeNumber(i int) Scope { return Scope(fmt.Sprintf("resource-%d:read", i)) }

func cidrNumber(i int) CIDR { return CIDR(fmt.Sprintf("10.0.%d.0/24", i)) }

// The changes to a valid key that are the tables' cases.

type keyChange = func(*ApiKeySpec)

func displayName(name string) keyChange { return func(s *ApiKeySpec) { s.DisplayName = name } }
func scopes(values ...Scope) keyChange  { return func(s *ApiKeySpec) { s.Scopes = values } }
func expiry(value Expiry) keyChange     { return func(s *ApiKeySpec) { s.Expiry = value } }
func cidrs(values ...CIDR) keyChange    { return func(s *ApiKeySpec) { s.AllowedCIDRs = values } }
func state(value ApiKeyState) keyChange { return func(s *ApiKeySpec) { s.State = value } }
func rotation(value Rotation) keyChange { return func(s *ApiKeySpec) { s.Rotation = &value } }

// all combines several changes.
func all(changes ...keyChange) keyChange {
	return func(s *ApiKeySpec) {
		for _, change := range changes {
			change(s)
		}
	}
}

// expectTaken creates a valid key with a change.
func expectTaken(ctx SpecContext, change keyChange) {
	key := validApiKey()
	change(&key.Spec)
	Expect(tryCreate(ctx, key)).To(Succeed())
}

// expectRefused checks that a valid key with a change is refused, with a line of the error.
func expectRefused(ctx SpecContext, line string, change keyChange) {
	key := validApiKey()
	change(&key.Spec)
	Expect(tryCreate(ctx, key)).To(beRefusedWith(line))
}

// expectRefusedEmpty checks that a valid key is refused as too short at a path, with a value for a field. The value may
// be one that Go's types would leave out.
func expectRefusedEmpty(ctx SpecContext, value any, path string, fields ...string) {
	Expect(tryCreate(ctx, with(validApiKey(), value, fields...))).To(beRefusedAsTooShort(path))
}

var _ = Describe("ApiKey", func() {
	It("is active unless it says otherwise", func(ctx SpecContext) {
		key := validApiKey()
		Expect(tryCreate(ctx, key)).To(Succeed())
		Expect(key.Spec).To(Equal(ApiKeySpec{Scopes: []Scope{"products:read"}, State: ApiKeyActive}))
	})

	DescribeTable("takes", expectTaken,
		Entry("a display name of 1 character", displayName("W")),
		Entry(
			"a display name with what real names have",
			displayName("Bob's \"Süd\" <倉庫> 👩\u200d🔧 می\u200cخواهم {{ }} $(x) %s \\n"),
		),
		Entry("a display name of 128 characters", displayName(strings.Repeat("ü", 128))),

		Entry("scopes of every form", scopes("products:read", "ai-jobs:write", "orders:*", "*", "v2:7", "a:b")),
		Entry("64 scopes", scopes(many(64, scopeNumber)...)),
		Entry("a scope of 128 characters", scopes("a:"+Scope(strings.Repeat("b", 126)))),

		Entry("an expiry in seconds", expiry("99999s")),
		Entry("an expiry in hours", expiry("12h")),
		Entry("an expiry in days", expiry("90d")),
		Entry("an expiry in weeks", expiry("99999w")),
		Entry("an expiry in years", expiry("99y")),
		Entry("no expiry", expiry(ExpiryNever)),

		Entry("blocks of addresses", cidrs(
			"203.0.113.0/24", "2001:db8::/32", "203.0.113.7/32", "2001:db8::1/128", "0.0.0.0/0", "::/0",
		)),
		Entry("64 blocks", cidrs(many(64, cidrNumber)...)),
		Entry("the longest block", cidrs("2001:0db8:ffff:ffff:ffff:ffff:ffff:ffff/128")),

		Entry("state Active", state(ApiKeyActive)),
		Entry("state Suspended", state(ApiKeySuspended)),
		Entry("state Revoked", state(ApiKeyRevoked)),

		Entry("rotation", rotation(Rotation{Every: "30d"})),
		Entry("the shortest period", rotation(Rotation{Every: "1h", Overlap: "1s"})),
		Entry("the shortest period in seconds", rotation(Rotation{Every: "3600s"})),
		Entry("the longest period", rotation(Rotation{Every: "99999w", Overlap: "99999d"})),
		Entry("an overlap for rotation on demand", rotation(Rotation{Overlap: "1d"})),
		Entry("an overlap in other units", rotation(Rotation{Every: "1d", Overlap: "23h"})),
		Entry("an overlap just shorter than every", rotation(Rotation{Every: "1w", Overlap: "167h"})),
		Entry("an overlap in seconds", rotation(Rotation{Every: "1h", Overlap: "3599s"})),
	)

	DescribeTable("refuses", expectRefused,
		Entry("a display name of 129 characters", "spec.displayName: Too long: may not be more than 128",
			displayName(strings.Repeat("a", 129))),

		Entry("no scopes at all", "spec.scopes: Required value", all(scopes(), displayName("x"))),
		Entry("65 scopes", "spec.scopes: Too many: 65: must have at most 64 items", scopes(many(65, scopeNumber)...)),
		Entry("the same scope twice", `spec.scopes[1]: Duplicate value: "a:b"`, scopes("a:b", "a:b")),
		Entry("a scope in capitals", `spec.scopes[0]: Invalid value: "Products:read": `+badScope, scopes("Products:read")),
		Entry("a scope without an action", `spec.scopes[1]: Invalid value: "products": `+badScope, scopes("a:b", "products")),
		Entry("a scope with an empty action", `spec.scopes[0]: Invalid value: "products:": `+badScope, scopes("products:")),
		Entry("a scope for one action on everything", `spec.scopes[0]: Invalid value: "*:read": `+badScope, scopes("*:read")),
		Entry("a scope with more parts", `spec.scopes[0]: Invalid value: "a:b:c": `+badScope, scopes("a:b:c")),
		Entry("several scopes in one", `spec.scopes[0]: Invalid value: "a:b c:d": `+badScope, scopes("a:b c:d")),
		Entry("a scope with a newline", `spec.scopes[0]: Invalid value: "a:b\n": `+badScope, scopes("a:b\n")),
		Entry("a scope of 129 characters", "spec.scopes[0]: Too long: may not be more than 128",
			scopes("a:"+Scope(strings.Repeat("b", 127)))),

		Entry("an unknown expiry", `spec.expiry: Invalid value: "banana": `+badExpiry, expiry("banana")),
		Entry("an expiry in small letters", `spec.expiry: Invalid value: "never": `+badExpiry, expiry("never")),
		Entry("an expiry in minutes or months", `spec.expiry: Invalid value: "30m": `+badExpiry, expiry("30m")),
		Entry(
			"an expiry at an instant", `spec.expiry: Invalid value: "2027-01-01T00:00:00Z": `+badExpiry,
			expiry("2027-01-01T00:00:00Z"),
		),
		Entry("an expiry of nothing", `spec.expiry: Invalid value: "0d": `+badExpiry, expiry("0d")),
		Entry("an expiry of six digits", `spec.expiry: Invalid value: "100000d": `+badExpiry, expiry("100000d")),
		Entry("an expiry after a century", `spec.expiry: Invalid value: "100y": `+badExpiry, expiry("100y")),
		Entry("an expiry of 65 characters", "spec.expiry: Too long: may not be more than 64", expiry(Expiry(strings.Repeat(
			"9", 65,
		)))),

		Entry("not a block", `spec.allowedCIDRs[0]: Invalid value: "garbage": `+badCIDR, cidrs("garbage")),
		Entry("a plain IPv4 address", `spec.allowedCIDRs[0]: Invalid value: "203.0.113.7": `+badCIDR, cidrs("203.0.113.7")),
		Entry("a plain IPv6 address", `spec.allowedCIDRs[0]: Invalid value: "2001:db8::1": `+badCIDR, cidrs("2001:db8::1")),
		Entry("host bits in an IPv4 block", `spec.allowedCIDRs[1]: Invalid value: "203.0.113.7/24": `+hostBits,
			cidrs("10.0.0.0/8", "203.0.113.7/24")),
		Entry(
			"host bits in an IPv6 block", `spec.allowedCIDRs[0]: Invalid value: "2001:db8::1/32": `+hostBits,
			cidrs("2001:db8::1/32"),
		),
		Entry("too long a prefix", `spec.allowedCIDRs[0]: Invalid value: "10.0.0.0/33": `+badCIDR, cidrs("10.0.0.0/33")),
		Entry(
			"an IPv4 block written as IPv6", `spec.allowedCIDRs[0]: Invalid value: "::ffff:10.0.0.0/104": `+badCIDR,
			cidrs("::ffff:10.0.0.0/104"),
		),
		Entry(
			"a block with a zone", `spec.allowedCIDRs[0]: Invalid value: "fe80::%eth0/64": `+badCIDR, cidrs("fe80::%eth0/64"),
		),
		Entry(
			"the same block twice", `spec.allowedCIDRs[1]: Duplicate value: "10.0.0.0/8"`, cidrs("10.0.0.0/8", "10.0.0.0/8"),
		),
		Entry("65 blocks", "spec.allowedCIDRs: Too many: 65: must have at most 64 items", cidrs(many(65, cidrNumber)...)),
		Entry(
			"a block of 65 characters", "spec.allowedCIDRs[0]: Too long: may not be more than 64",
			cidrs(CIDR(strings.Repeat("1", 65))),
		),

		Entry("an unknown state",
			`spec.state: Unsupported value: "Disabled": supported values: "Active", "Suspended", "Revoked"`,
			state("Disabled")),

		Entry(
			"an empty rotation", "spec.rotation: Invalid value: 0: spec.rotation in body should have at least 1 properties",
			rotation(Rotation{}),
		),
		Entry("an unknown period", `spec.rotation.every: Invalid value: "banana": `+badPeriod, rotation(
			Rotation{Every: "banana", Overlap: "1h"},
		)),
		Entry("a period without a unit", `spec.rotation.every: Invalid value: "7": `+badPeriod, rotation(
			Rotation{Every: "7", Overlap: "1h"},
		)),
		Entry("a period of seconds", `spec.rotation.every: Invalid value: "2s": `+tooOften, rotation(
			Rotation{Every: "2s", Overlap: "1s"},
		)),
		Entry(
			"a period just shorter than an hour", `spec.rotation.every: Invalid value: "3599s": `+tooOften,
			rotation(Rotation{Every: "3599s"}),
		),
		Entry("an unknown overlap", `spec.rotation.overlap: Invalid value: "0s": `+badPeriod, rotation(
			Rotation{Every: "1h", Overlap: "0s"},
		)),
		Entry("a period in years", `spec.rotation.every: Invalid value: "1y": `+badPeriod, rotation(Rotation{Every: "1y"})),
		Entry("a period of six digits", `spec.rotation.every: Invalid value: "100000h": `+badPeriod, rotation(
			Rotation{Every: "100000h", Overlap: "1h"},
		)),
		Entry("a period of 65 characters", "spec.rotation.every: Too long: may not be more than 64", rotation(
			Rotation{Every: Period(strings.Repeat("9", 65))},
		)),
		Entry("an overlap of 65 characters", "spec.rotation.overlap: Too long: may not be more than 64", rotation(
			Rotation{Overlap: Period(strings.Repeat("9", 65))},
		)),
		Entry("an overlap as long as every", "spec.rotation.overlap: Invalid value: "+tooLong, rotation(
			Rotation{Every: "7d", Overlap: "1w"},
		)),
		Entry("an overlap longer than every", "spec.rotation.overlap: Invalid value: "+tooLong, rotation(
			Rotation{Every: "3600s", Overlap: "2h"},
		)),
	)

	It("refuses a display name that doesn't only show itself", func(ctx SpecContext) {
		for _, character := range unprintable {
			Expect(printable.Is(character)).To(BeFalse(), "%q", character)
			key := validApiKey()
			key.Spec.DisplayName = "Ware" + character + "house"
			Expect(tryCreate(ctx, key)).To(beRefusedWith(fmt.Sprintf(
				"spec.displayName: Invalid value: %q: a name %s", key.Spec.DisplayName, notPrintable,
			)), "%q", character)
		}
	})

	DescribeTable("reads, in what Go would leave out,", func(ctx SpecContext, value any, line string, fields ...string) {
		Expect(tryCreate(ctx, with(validApiKey(), value, fields...))).To(beRefusedWith(line))
	},
		Entry("no spec", nil, "spec: Required value", "spec"),
		Entry(
			"empty scopes", []any{}, "spec.scopes: Invalid value: 0: spec.scopes in body should have at least 1 items", "spec",
			"scopes",
		),
		Entry("a blank expiry, which is Never", "", accepted, "spec", "expiry"),
		Entry(
			"an expiry that is a number", int64(90),
			`spec.expiry: Invalid value: "integer": spec.expiry in body must be of type string`, "spec", "expiry",
		),
		Entry("an empty state", "", `spec.state: Unsupported value: ""`, "spec", "state"),
	)

	DescribeTable("refuses, empty,", expectRefusedEmpty,
		Entry("a display name", "", "spec.displayName", "spec", "displayName"),
		Entry("a scope", []any{""}, "spec.scopes[0]", "spec", "scopes"),
		Entry("a block", []any{""}, "spec.allowedCIDRs[0]", "spec", "allowedCIDRs"),
		Entry("a period", map[string]any{"every": ""}, "spec.rotation.every", "spec", "rotation"),
		Entry("an overlap", map[string]any{"overlap": ""}, "spec.rotation.overlap", "spec", "rotation"),
	)
})
