package v1alpha1_test

import (
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	. "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/released"
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
	badDigest = "must be 64 lower-case hexadecimal digits, as `printf %s \"$TOKEN\" | sha256sum` prints them"
	badPrefix = "must be the token's format and the first 8 characters after it, such as nxc_live_7Hk2PqZx, and no " +
		"more of it"
	notPrintable = "must have no line breaks, control characters, marks of direction or invisible characters"
	badEntry     = "names are letters, digits, hyphens, underscores and dots, at most 253, and neither . nor anything " +
		"that starts with .."
	reserved = "keys.nexuscommerce.io/… and app.kubernetes.io/managed-by are set by the controller"
)

const (
	// someDigest and otherDigest are not the digests of tokens.
	someDigest  = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	otherDigest = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
	somePrefix  = "nxc_live_7Hk2PqZx"
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

func displayName(name string) keyChange     { return func(s *ApiKeySpec) { s.DisplayName = name } }
func scopes(values ...Scope) keyChange      { return func(s *ApiKeySpec) { s.Scopes = values } }
func expiry(value Expiry) keyChange         { return func(s *ApiKeySpec) { s.Expiry = value } }
func cidrs(values ...CIDR) keyChange        { return func(s *ApiKeySpec) { s.AllowedCIDRs = values } }
func state(value ApiKeyState) keyChange     { return func(s *ApiKeySpec) { s.State = value } }
func rotation(value Rotation) keyChange     { return func(s *ApiKeySpec) { s.Rotation = &value } }
func secret(value SecretTemplate) keyChange { return func(s *ApiKeySpec) { s.Secret = &value } }

func labels(values map[string]LabelValue) keyChange { return secret(SecretTemplate{Labels: values}) }
func annotations(values map[string]string) keyChange {
	return secret(SecretTemplate{Annotations: values})
}
func data(values map[string]Template) keyChange { return secret(SecretTemplate{Data: values}) }

func digest(sha256, prefix string) keyChange {
	return func(s *ApiKeySpec) { s.Digest = &TokenDigest{SHA256: sha256, Prefix: prefix} }
}

// all combines several changes.
func all(changes ...keyChange) keyChange {
	return func(s *ApiKeySpec) {
		for _, change := range changes {
			change(s)
		}
	}
}

var _ = Describe("ApiKey", func() {
	It("is active unless it says otherwise", func(ctx SpecContext) {
		key := validApiKey()
		Expect(tryCreate(ctx, key)).To(Succeed())
		Expect(key.Spec).To(Equal(ApiKeySpec{Scopes: []Scope{"products:read"}, State: ApiKeyActive}))
	})

	DescribeTable("takes", func(ctx SpecContext, change keyChange) {
		key := validApiKey()
		change(&key.Spec)
		Expect(tryCreate(ctx, key)).To(Succeed())
	},
		Entry("a display name of 1 character", displayName("W")),
		Entry(
			"a display name with what real names have",
			displayName("Bob's \"Süd\" <倉庫> 👩\u200d🔧 می\u200cخواهم {{ }} $(x) %s \\n"),
		),
		Entry("a display name of 128 characters", displayName(strings.Repeat("ü", 128))),

		Entry("templates", data(map[string]Template{
			"a": "{{.Token}}", "b": "{ {{- .Scopes | join \", \" | shell -}} }", "c": `{{ "{{" | json }}{{/* a */}}{`, "d": "{",
		})),
		Entry("the longest templates", data(manyNamed(32, Template(strings.Repeat("{{.Token|base64}}", 240))))),
		Entry("the longest text", data(manyNamed(32, Template(strings.Repeat("ü", 4096))))),

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

		Entry("a Secret's name of 1 character", secret(SecretTemplate{Name: "a"})),
		Entry("a Secret's name of 253 characters", secret(SecretTemplate{Name: strings.Repeat("a", 253)})),
		Entry("a Secret's name with dots", secret(SecretTemplate{Name: "api.example.com"})),
		Entry("32 labels with values of 63 characters", labels(manyNamed(32, LabelValue(strings.Repeat("a", 63))))),
		Entry("a label of somebody's own, without a value", labels(map[string]LabelValue{"example.com/team": ""})),
		Entry("32 annotations of 1024 characters", annotations(manyNamed(32, strings.Repeat("ü", 1024)))),
		Entry("32 entries of 4096 characters", data(manyNamed(32, Template(strings.Repeat("ü", 4096))))),
		Entry("entries of every name", data(map[string]Template{
			".env": "API_KEY={{.Token}}", "Token": "x", "a_b-c.d": "x", strings.Repeat("a", 253): "x",
		})),

		Entry("a digest, with what does not depend on the token", all(
			digest(someDigest, somePrefix), expiry("90d"), cidrs("203.0.113.0/24"),
		)),
		Entry("the shortest prefix", digest(someDigest, "a_7Hk2PqZx")),
		Entry("the longest prefix", digest(someDigest, strings.Repeat("a", 31)+"_7Hk2PqZx")),
	)

	DescribeTable("refuses", func(ctx SpecContext, line string, change keyChange) {
		key := validApiKey()
		change(&key.Spec)
		Expect(tryCreate(ctx, key)).To(beRefusedWith(line))
	},
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

		Entry("a block that is none", `spec.allowedCIDRs[0]: Invalid value: "garbage": `+badCIDR, cidrs("garbage")),
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

		Entry(
			"an empty secret", "spec.secret: Invalid value: 0: spec.secret in body should have at least 1 properties",
			secret(SecretTemplate{}),
		),
		Entry("a Secret's name in capitals",
			`spec.secret.name: Invalid value: "Warehouse": must be a DNS subdomain: lower-case letters, digits, hyphens and `+
				`dots`,
			secret(SecretTemplate{Name: "Warehouse"})),
		Entry("a Secret's name of 254 characters", "spec.secret.name: Too long: may not be more than 253", secret(
			SecretTemplate{Name: strings.Repeat("a", 254)},
		)),
		Entry("a label's name with a space",
			"spec.secret.labels: Invalid value: must be valid label names: letters, digits, hyphens, underscores and dots, "+
				"at most 63",
			labels(map[string]LabelValue{"my team": "a"})),
		Entry("a label's value with a space",
			`spec.secret.labels[team]: Invalid value: "team a": must be a valid label value: letters, digits, hyphens, `+
				`underscores and dots, starting and ending with a letter or digit`,
			labels(map[string]LabelValue{"team": "team a"})),
		Entry("a label's value of 64 characters", "spec.secret.labels.team: Too long: may not be more than 63",
			labels(map[string]LabelValue{"team": LabelValue(strings.Repeat("a", 64))})),
		Entry("the controller's own label", "spec.secret.labels: Invalid value: "+reserved, labels(map[string]LabelValue{
			RootLabel: "1",
		})),
		Entry(
			"the label that says whose Secret it is", "spec.secret.labels: Invalid value: "+reserved,
			labels(map[string]LabelValue{ManagedByLabel: "Helm"}),
		),
		Entry(
			"33 labels", "spec.secret.labels: Too many: 33: must have at most 32 items", labels(manyNamed[LabelValue](33, "a")),
		),
		Entry("an annotation's name with a space",
			"spec.secret.annotations: Invalid value: must be valid annotation names: letters, digits, hyphens, underscores "+
				"and dots, at most 63",
			annotations(map[string]string{"my team": "a"})),
		Entry("an annotation of 1025 characters",
			"spec.secret.annotations: Invalid value: values are at most 1024 characters",
			annotations(map[string]string{"a": strings.Repeat("a", 1025)})),
		Entry("the controller's own annotation",
			"spec.secret.annotations: Invalid value: keys.nexuscommerce.io/… is set by the controller",
			annotations(map[string]string{RotateAtAnnotation: "1"})),
		Entry(
			"33 annotations", "spec.secret.annotations: Too many: 33: must have at most 32 items",
			annotations(manyNamed(33, "a")),
		),
		Entry("an entry that a Secret can't have", "spec.secret.data: Invalid value: "+badEntry, data(map[string]Template{
			"a/b": "x",
		})),
		Entry("an entry for this folder", "spec.secret.data: Invalid value: "+badEntry, data(map[string]Template{".": "x"})),
		Entry(
			"an entry for the folder above", "spec.secret.data: Invalid value: "+badEntry, data(map[string]Template{"..": "x"}),
		),
		Entry("an entry whose name starts so", "spec.secret.data: Invalid value: "+badEntry, data(map[string]Template{
			"..data": "x",
		})),
		Entry("an entry with a name of 254 characters", "spec.secret.data: Invalid value: "+badEntry,
			data(map[string]Template{strings.Repeat("a", 254): "x"})),
		Entry("an empty entry",
			"spec.secret.data.a: Invalid value: \"\": spec.secret.data.a in body should be at least 1 chars long",
			data(map[string]Template{"a": ""})),
		Entry("an entry of 4097 characters", "spec.secret.data.a: Too long: may not be more than 4096",
			data(map[string]Template{"a": Template(strings.Repeat("a", 4097))})),
		Entry("a template that computes", "spec.secret.data[a]: Invalid value: ", data(map[string]Template{
			"a": "{{index .Scopes (index .Token 20)}}",
		})),
		Entry("a template with a variable", "spec.secret.data[a]: Invalid value: ", data(map[string]Template{
			"a": `{{$a := printf "%1000000d" 1}}`,
		})),
		Entry("a template of a field that there isn't", "spec.secret.data[a]: Invalid value: ", data(map[string]Template{
			"a": "{{ .Tokens }}",
		})),
		Entry("a template with an open action", "spec.secret.data[a]: Invalid value: ", data(map[string]Template{
			"a": "{{ .Token }",
		})),
		Entry("a template that encodes twice", "spec.secret.data[a]: Invalid value: ", data(map[string]Template{
			"a": "{{ .Token | json | json }}",
		})),
		Entry("33 entries", "spec.secret.data: Too many: 33: must have at most 32 items", data(manyNamed[Template](33, "a"))),

		Entry(
			"a digest in capitals", "spec.digest.sha256: Forbidden: "+badDigest, digest(strings.ToUpper(someDigest), somePrefix),
		),
		Entry("a digest that names its algorithm", "spec.digest.sha256: Forbidden: "+badDigest, digest(
			"sha256:"+someDigest, somePrefix,
		)),
		Entry("a digest of 129 characters", "spec.digest.sha256: Too long: may not be more than 128", digest(
			strings.Repeat("a", 129), somePrefix,
		)),
		Entry("the digest of nothing",
			`spec.digest.sha256: Invalid value: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": is the `+
				`digest of nothing: the token was empty when it was taken`,
			digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", somePrefix)),
		Entry("a digest without a prefix", "spec.digest.prefix: Required value", digest(someDigest, "")),
		Entry("a prefix without a digest", "spec.digest.sha256: Required value", digest("", somePrefix)),
		Entry("a prefix without a format", "spec.digest.prefix: Forbidden: "+badPrefix, digest(someDigest, "7Hk2PqZx")),
		Entry(
			"a prefix with more of the token", "spec.digest.prefix: Forbidden: "+badPrefix, digest(someDigest, somePrefix+"a"),
		),
		Entry("a prefix of 41 characters", "spec.digest.prefix: Forbidden: "+badPrefix, digest(
			someDigest, strings.Repeat("a", 32)+"_7Hk2PqZx",
		)),
		Entry("a prefix of 129 characters", "spec.digest.prefix: Too long: may not be more than 128", digest(
			someDigest, strings.Repeat("a", 129),
		)),
		Entry("a secret beside a digest",
			"spec.secret: Invalid value: secret can't be set beside digest: a token made elsewhere is not known here, so no "+
				"Secret is written",
			all(digest(someDigest, somePrefix), secret(SecretTemplate{Name: "a"}))),
		Entry("rotation beside a digest",
			"spec.rotation: Invalid value: rotation can't be set beside digest: rotate by creating another ApiKey with the "+
				"new token's digest",
			all(digest(someDigest, somePrefix), rotation(Rotation{Every: "30d"}))),
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

	It("takes changes of a key that has what was taken before there was a rule", func(ctx SpecContext) {
		key := validApiKey()
		key.Spec.DisplayName = "x\ny"
		all(data(
			map[string]Template{"a": "{{index .Scopes 0}}", "b": "{{.Token}}"},
		), rotation(Rotation{Every: "2s", Overlap: "1s"}))(&key.Spec)
		Expect(released.Under(ctx, cp.Client, "apikeys", func() error {
			key.SetName("")
			key.SetGenerateName("former-")
			return cp.Client.Create(ctx, key)
		})).To(Succeed())
		for _, change := range []keyChange{
			state(ApiKeySuspended), expiry("30d"), func(s *ApiKeySpec) {
				s.Secret.Data["b"] = "{{ .Token | json }}"
			}, func(s *ApiKeySpec) { s.Secret.Data["c"] = "c" },
			state(ApiKeyRevoked),
		} {
			change(&key.Spec)
			Expect(cp.Client.Update(ctx, key)).To(Succeed())
		}
		key.Status.ObservedGeneration = 1
		Expect(cp.Client.Status().Update(ctx, key)).To(Succeed())
		key.Spec.Secret.Data["a"] = "{{index .Scopes 1}}"
		Expect(cp.Client.Update(ctx, key)).To(beRefusedWith("spec.secret.data[a]: Invalid value: "))
		key.Spec.Secret.Data["a"], key.Spec.DisplayName = "{{.Name}}", "x\nz"
		Expect(cp.Client.Update(ctx, key)).To(beRefusedWith("spec.displayName: Invalid value: "))
		key.Spec.DisplayName = "xz"
		Expect(cp.Client.Update(ctx, key)).To(Succeed())
		Expect(cp.Client.Delete(ctx, key)).To(Succeed())
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

	DescribeTable("refuses, empty,", func(ctx SpecContext, value any, path string, fields ...string) {
		Expect(tryCreate(ctx, with(validApiKey(), value, fields...))).To(beRefusedAsTooShort(path))
	},
		Entry("a display name", "", "spec.displayName", "spec", "displayName"),
		Entry("a scope", []any{""}, "spec.scopes[0]", "spec", "scopes"),
		Entry("a block", []any{""}, "spec.allowedCIDRs[0]", "spec", "allowedCIDRs"),
		Entry("a period", map[string]any{"every": ""}, "spec.rotation.every", "spec", "rotation"),
		Entry("an overlap", map[string]any{"overlap": ""}, "spec.rotation.overlap", "spec", "rotation"),
		Entry("a Secret's name", map[string]any{"name": ""}, "spec.secret.name", "spec", "secret"),
		Entry("a digest", map[string]any{"sha256": "", "prefix": somePrefix}, "spec.digest.sha256", "spec", "digest"),
		Entry("a prefix", map[string]any{"sha256": someDigest, "prefix": ""}, "spec.digest.prefix", "spec", "digest"),
	)

	It("refuses entries that the controller writes", func(ctx SpecContext) {
		for _, name := range []string{
			"token", "authorization", "tenantId", "apiBaseUrl", "prefix", "expiresAt", "type", "provider", "uri",
		} {
			key := validApiKey()
			data(map[string]Template{name: "x"})(&key.Spec)
			Expect(tryCreate(ctx, key)).To(beRefusedWith("spec.secret.data: Invalid value: token, authorization, tenantId, "+
				"apiBaseUrl, prefix, expiresAt, "+
				"type, provider and uri are written by the controller: choose another name"), name)
		}
	})

	It("never repeats what may be a token in an error", func(ctx SpecContext) {
		token := "nxc_live_" + strings.Repeat("q", 57)
		for _, mistaken := range []keyChange{digest(token, somePrefix), digest(someDigest, token), digest(token, token)} {
			key := validApiKey()
			mistaken(&key.Spec)
			Expect(tryCreate(ctx, key)).To(MatchError(Not(ContainSubstring("qqq"))))
		}
	})

	It("can be suspended, made active again, and revoked", func(ctx SpecContext) {
		key := validApiKey()
		create(ctx, key)
		for _, next := range []ApiKeyState{ApiKeySuspended, ApiKeyActive, ApiKeyRevoked, ApiKeyRevoked} {
			key.Spec.State = next
			Expect(cp.Client.Update(ctx, key)).To(Succeed())
		}
		key.Spec.DisplayName = "A note on why"
		Expect(cp.Client.Update(ctx, key)).To(Succeed())
	})

	DescribeTable("stays revoked", func(ctx SpecContext, from ApiKeyState, patch client.Patch) {
		const comeback = "spec.state: Invalid value: \"Active\": a revoked key can't come back: create another ApiKey"
		key := validApiKey()
		key.Spec.State = from
		create(ctx, key)
		key.Spec.State = ApiKeyRevoked
		Expect(cp.Client.Update(ctx, key)).To(Succeed())

		Expect(cp.Client.Patch(ctx, key, patch)).To(beRefusedWith(comeback))
		Expect(reread(ctx, key).Spec.State).To(Equal(ApiKeyRevoked))
	},
		Entry(
			"when set to Active", ApiKeyActive, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"state":"Active"}}`)),
		),
		Entry("when set to null", ApiKeyActive, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"state":null}}`))),
		Entry("when the field is removed", ApiKeySuspended, client.RawPatch(
			types.JSONPatchType, []byte(`[{"op":"remove","path":"/spec/state"}]`),
		)),
		Entry("when the spec is replaced by one without it", ApiKeySuspended,
			client.RawPatch(types.JSONPatchType, []byte(`[{"op":"replace","path":"/spec","value":{"scopes":["a:b"]}}]`))),
	)

	It("stays revoked when set to Suspended", func(ctx SpecContext) {
		key := validApiKey()
		key.Spec.State = ApiKeyRevoked
		create(ctx, key)
		key.Spec.State = ApiKeySuspended
		Expect(cp.Client.Update(ctx, key)).To(beRefusedWith(
			"spec.state: Invalid value: \"Suspended\": a revoked key can't come back: create another ApiKey",
		))
	})

	It("stays revoked when whoever revoked it applies it without a state", func(ctx SpecContext) {
		key := validApiKey()
		create(ctx, key)
		apply := func(value any) error {
			config := with(validApiKey(), value, "spec", "state")
			config.SetName(key.Name)
			return cp.Client.Apply(
				ctx, client.ApplyConfigurationFromUnstructured(config), client.FieldOwner("test"), client.ForceOwnership,
			)
		}
		Expect(apply("Revoked")).To(Succeed())
		Expect(apply(nil)).To(beRefusedWith("spec.state: Invalid value: \"Active\": a revoked key can't come back"))
	})

	DescribeTable("keeps its digest", func(ctx SpecContext, line string, before, after keyChange) {
		key := validApiKey()
		before(&key.Spec)
		create(ctx, key)

		after(&key.Spec)
		Expect(cp.Client.Update(ctx, key)).To(beRefusedWith(line))
	},
		Entry("while other fields change", accepted, digest(someDigest, somePrefix), all(scopes("a:b"), expiry("30d"))),
		Entry("when one is added", "spec.digest: Invalid value: digest can't be added or removed: create another ApiKey",
			all(), digest(someDigest, somePrefix)),
		Entry("when it is removed", "spec.digest: Invalid value: digest can't be added or removed: create another ApiKey",
			digest(someDigest, somePrefix), func(s *ApiKeySpec) { s.Digest = nil }),
		Entry("when it is changed", "spec.digest: Invalid value: digest is immutable: create another ApiKey",
			digest(someDigest, somePrefix), digest(otherDigest, somePrefix)),
		Entry("when its prefix is changed", "spec.digest: Invalid value: digest is immutable: create another ApiKey",
			digest(someDigest, somePrefix), digest(someDigest, "nxc_live_8888888a")),
	)
})
