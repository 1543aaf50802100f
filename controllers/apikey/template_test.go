package apikey_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/released"
)

// These are parts of templates whose output would be very long.
var (
	doubled = keysv1alpha1.Template(strings.Repeat("{{$a = print $a $a}}", 9))
	escaped = keysv1alpha1.Template(strings.Repeat("{{$b = js $b}}", 280))
)

// former has templates that the last release accepted, and the message for them now.
var former = map[keysv1alpha1.Template]string{
	`{{$a := printf "%1000000d" 1}}` + doubled + "{{len $a}}": "line 1, column 3: variables are not supported",
	"{{$b := js .Name}}" + escaped:                            "line 1, column 3: variables are not supported",
	"{{index .Scopes (index .Token 20)}}":                     "line 1, column 3: index is not supported",

	"key = 1\nscope = {{ index .Scopes 0 }}": `line 2, column 12: index is not supported: write {{ .Scopes | join " " }}`,
	`{"key": {{ printf "%q" .Token }}}`:      "line 1, column 12: printf is not supported: write {{ .Token | json }}",
	"{{ urlquery .DisplayName }}":            "write {{ .DisplayName | urlquery }}",
	"{{ html .DisplayName }}":                "write {{ .DisplayName | html }}",
	"{{ js .DisplayName }}":                  "write {{ .DisplayName | json }}",
	"{{ if .Scopes }}{{ .Token }}{{ end }}":  "if is not supported",
	"{{ with .Token }}{{ . }}{{ end }}":      "with is not supported",
	"{{ .Nonsense }}":                        "there is no field .Nonsense: the fields are .Token, .Authorization",
	"{{ .Token":                              "unclosed action",
	"{{ printf \"%0999999d\" 7 }}":           "printf is not supported",
}

func withTemplate(text keysv1alpha1.Template) func(*keysv1alpha1.ApiKey) {
	return func(k *keysv1alpha1.ApiKey) {
		k.Spec.Secret = &keysv1alpha1.SecretTemplate{Data: map[string]keysv1alpha1.Template{"x": text}}
	}
}

// setFormer gives keys templates that only the last release accepted.
func setFormer(ctx context.Context, keys map[keysv1alpha1.Template]*keysv1alpha1.ApiKey) {
	GinkgoHelper()
	Expect(released.Under(ctx, cp.Client, "apikeys", func() error {
		for text, key := range keys {
			withTemplate(text)(key)
			if err := cp.Client.Update(ctx, key); err != nil {
				return err
			}
		}
		return nil
	})).To(Succeed())
}

var _ = Describe("A template of before", func() {
	It("is refused with its place and its new spelling, and the key's Secret works on", func(ctx SpecContext) {
		// It fails when secretdata takes Go's templates, or publish empties the Secret.
		env := newEnvironment(ctx)
		keys := map[keysv1alpha1.Template]*keysv1alpha1.ApiKey{}
		for text := range former {
			keys[text] = env.create(ctx)
		}
		setFormer(ctx, keys)
		for text, part := range former {
			key := keys[text]
			before := bytesOf(ctx, secretOf(ctx, key))
			begin := time.Now()
			result := env.reconcile(ctx, key)
			Expect(time.Since(begin)).To(BeNumerically("<", 5*time.Second))
			expectRefused(key, "InvalidTemplate", "spec.secret.data[x]: line ")
			Expect(message(key, "Ready")).To(ContainSubstring(part))
			Expect(condition(key, "Published")).To(Equal("False/InvalidTemplate"))
			Expect(key.Status.Credentials[0].ValidUntil).To(BeNil())
			Expect(bytesOf(ctx, secretOf(ctx, key))).To(Equal(before))
			Expect(result.RequeueAfter).To(Or(BeZero(), BeNumerically(">", time.Hour)), "only a change can make it valid")
			env.client.writes = 0
			env.reconcile(ctx, key)
			Expect(env.client.writes).To(BeZero())
		}
		other := env.create(ctx)
		expectReady(ctx, other)
	})

	It("says the same for every token", func(ctx SpecContext) {
		env := newEnvironment(ctx)
		said := map[string]bool{}
		keys := map[keysv1alpha1.Template]*keysv1alpha1.ApiKey{}
		for i := range 8 {
			keys[keysv1alpha1.Template(fmt.Sprintf("{{index .Scopes (index .Token %02d)}}", 20+i))] = env.create(ctx)
		}
		setFormer(ctx, keys)
		for _, key := range keys {
			env.reconcile(ctx, key)
			said[message(key, "Ready")] = true
		}
		Expect(said).To(HaveLen(1))
	})

	It("leaves a Secret that is lost unrestored until it is corrected", func(ctx SpecContext) {
		// docs/apikey.md says so about InvalidTemplate.
		env := newEnvironment(ctx)
		key := env.create(ctx)
		secret := secretOf(ctx, key)
		token := secret.Data["token"]
		setFormer(ctx, map[keysv1alpha1.Template]*keysv1alpha1.ApiKey{"{{index .Scopes 0}}": key})
		Expect(cp.Client.Delete(ctx, secret)).To(Succeed())
		env.reconcile(ctx, key)
		expectRefused(key, "InvalidTemplate", "index is not supported")
		Expect(apierrors.IsNotFound(cp.Client.Get(ctx, client.ObjectKeyFromObject(secret), secret))).To(BeTrue())

		env.update(ctx, key, withTemplate("{{ .Scopes | join ` ` }}"))
		expectReady(ctx, key)
		Expect(secretOf(ctx, key).Data).To(HaveKeyWithValue("token", token))
	})

	It("does not hold up revocation or expiry, and holds up a rotation until it is corrected", func(ctx SpecContext) {
		// It fails when Rotate does not check the templates.
		env := newEnvironment(ctx)
		key, revoking, expiring := env.create(ctx), env.create(ctx), env.create(ctx)
		setFormer(ctx, map[keysv1alpha1.Template]*keysv1alpha1.ApiKey{
			"{{index .Scopes 0}}": key, "{{index .Scopes 1}}": revoking, "{{index .Scopes 2}}": expiring,
		})

		env.update(ctx, key, requestRotation("now"))
		expectRefused(key, "InvalidTemplate", "index is not supported")
		Expect(key.Status.Credentials).To(HaveLen(1), "no Secret could take another token")
		env.update(ctx, key, withTemplate("{{ .Scopes | join ` ` }}"))
		expectReady(ctx, key)
		Expect(key.Status.Credentials).To(HaveLen(2))
		Expect(string(secretOf(ctx, key).Data["x"])).To(Equal("products:read"))

		env.update(ctx, revoking, func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		expectAtRest(revoking, "Revoked")
		env.update(ctx, expiring, func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "30d" })
		env.clock.SetTime(env.clock.Now().Add(31 * 24 * time.Hour))
		env.reconcile(ctx, expiring)
		expectAtRest(expiring, "Expired")
	})
})

var _ = Describe("A template", func() {
	DescribeTable("that only the controller can check is refused if it", func(
		ctx SpecContext, part string, texts []keysv1alpha1.Template,
	) {
		env := newEnvironment(ctx)
		key := env.create(ctx, func(k *keysv1alpha1.ApiKey) {
			k.Spec.Secret = &keysv1alpha1.SecretTemplate{Data: map[string]keysv1alpha1.Template{}}
			for i, text := range texts {
				k.Spec.Secret.Data[fmt.Sprintf("%02d", i)] = text
			}
		})
		expectRefused(key, "InvalidTemplate", part)
		env.update(ctx, key, func(k *keysv1alpha1.ApiKey) { k.Spec.Secret = nil })
		expectReady(ctx, key)
	},
		Entry("has a backslash too many", `spec.secret.data[00]: line 1, column 4: a quoted text has a \`,
			[]keysv1alpha1.Template{`{{ "\q" }}`}),
		Entry("becomes too long with others", "spec.secret.data[18]: line 1, column ", manyTemplates(32)),
	)

	It("cannot be used to add a line by a name", func(ctx SpecContext) {
		// The template is in docs/examples/apikey-secret.yaml. The name is from before there was a rule for names.
		env := newEnvironment(ctx)
		raw := env.create(ctx, withTemplate("# {{ .DisplayName }}\nheader = {{ .Token }}"))
		encoded := env.create(ctx, withTemplate("# {{ .DisplayName | json }}\nheader = {{ .Token }}"))
		before := bytesOf(ctx, secretOf(ctx, raw))
		Expect(released.Under(ctx, cp.Client, "apikeys", func() error {
			for _, key := range []*keysv1alpha1.ApiKey{raw, encoded} {
				key.Spec.DisplayName = "x\"\nurl = \"http://elsewhere.example/\"\n#"
				if err := cp.Client.Update(ctx, key); err != nil {
					return err
				}
			}
			return nil
		})).To(Succeed())
		env.reconcile(ctx, raw)
		expectRefused(raw, "InvalidTemplate", "line 1, column 3: the value of .DisplayName has a line break")
		Expect(message(raw, "Ready")).NotTo(ContainSubstring("elsewhere"))
		Expect(bytesOf(ctx, secretOf(ctx, raw))).To(Equal(before))
		env.reconcile(ctx, encoded)
		expectReady(ctx, encoded)
		Expect(strings.Split(string(secretOf(ctx, encoded).Data["x"]), "\n")).To(HaveExactElements(
			`# "x\"\nurl = \"http://elsewhere.example/\"\n#"`, HavePrefix("header = nxc_live_")))

		By("changing another field of such a key, and then its name")
		env.update(ctx, raw, func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "90d" })
		env.update(ctx, raw, func(k *keysv1alpha1.ApiKey) { k.Spec.DisplayName = "X" })
		expectReady(ctx, raw)
	})
})

// manyTemplates returns templates with nearly the longest output for their length.
func manyTemplates(n int) []keysv1alpha1.Template {
	texts := make([]keysv1alpha1.Template, n)
	for i := range texts {
		texts[i] = keysv1alpha1.Template(strings.Repeat("{{.Token|base64}}", 240))
	}
	return texts
}
