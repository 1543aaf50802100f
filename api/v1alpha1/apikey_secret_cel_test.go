package v1alpha1_test

import (
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// The messages of the Secret's rules.
const (
	badEntry = "names are letters, digits, hyphens, underscores and dots, at most 253, and neither . nor anything " +
		"that starts with .."
	reserved = "keys.nexuscommerce.io/… and app.kubernetes.io/managed-by are set by the controller"
)

func secret(value SecretTemplate) keyChange         { return func(s *ApiKeySpec) { s.Secret = &value } }
func labels(values map[string]LabelValue) keyChange { return secret(SecretTemplate{Labels: values}) }
func annotations(values map[string]string) keyChange {
	return secret(SecretTemplate{Annotations: values})
}
func data(values map[string]Template) keyChange { return secret(SecretTemplate{Data: values}) }

var _ = Describe("ApiKey's Secret", func() {
	DescribeTable("takes", expectTaken,
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

		Entry("templates", data(map[string]Template{
			"a": "{{.Token}}", "b": "{ {{- .Scopes | join \", \" | shell -}} }", "c": `{{ "{{" | json }}{{/* a */}}{`, "d": "{",
		})),
		Entry("the longest templates", data(manyNamed(32, Template(strings.Repeat("{{.Token|base64}}", 240))))),
		Entry("the longest text", data(manyNamed(32, Template(strings.Repeat("ü", 4096))))),
	)

	DescribeTable("refuses", expectRefused,
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
	)

	DescribeTable("refuses, empty,", expectRefusedEmpty,
		Entry("a Secret's name", map[string]any{"name": ""}, "spec.secret.name", "spec", "secret"),
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
})
