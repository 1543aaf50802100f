package v1alpha1_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// The messages of the digest's rules.
const (
	badDigest = "must be 64 lower-case hexadecimal digits, as `printf %s \"$TOKEN\" | sha256sum` prints them"
	badPrefix = "must be the token's format and the first 8 characters after it, such as nxc_live_7Hk2PqZx, and no " +
		"more of it"
)

const (
	// someDigest and otherDigest are not the digests of tokens.
	someDigest  = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	otherDigest = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
	somePrefix  = "nxc_live_7Hk2PqZx"
)

func digest(sha256, prefix string) keyChange {
	return func(s *ApiKeySpec) { s.Digest = &TokenDigest{SHA256: sha256, Prefix: prefix} }
}

var _ = Describe("ApiKey's digest", func() {
	DescribeTable("takes", expectTaken,
		Entry("a digest, with what does not depend on the token", all(
			digest(someDigest, somePrefix), expiry("90d"), cidrs("203.0.113.0/24"),
		)),
		Entry("the shortest prefix", digest(someDigest, "a_7Hk2PqZx")),
		Entry("the longest prefix", digest(someDigest, strings.Repeat("a", 31)+"_7Hk2PqZx")),
	)

	DescribeTable("refuses", expectRefused,
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

	DescribeTable("refuses, empty,", expectRefusedEmpty,
		Entry("a digest", map[string]any{"sha256": "", "prefix": somePrefix}, "spec.digest.sha256", "spec", "digest"),
		Entry("a prefix", map[string]any{"sha256": someDigest, "prefix": ""}, "spec.digest.prefix", "spec", "digest"),
	)

	It("never repeats what may be a token in an error", func(ctx SpecContext) {
		token := "nxc_live_" + strings.Repeat("q", 57)
		for _, mistaken := range []keyChange{digest(token, somePrefix), digest(someDigest, token), digest(token, token)} {
			key := validApiKey()
			mistaken(&key.Spec)
			Expect(tryCreate(ctx, key)).To(MatchError(Not(ContainSubstring("qqq"))))
		}
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
