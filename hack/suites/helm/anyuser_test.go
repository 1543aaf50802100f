package helm_test

import (
	"regexp"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// TestRunsUnderAnyUser checks that no pod pins a user or a group, and that none needs a path that it can write to, so
// that a platform such as OpenShift can run it under any user of the namespace's range.
func TestRunsUnderAnyUser(t *testing.T) {
	g := NewWithT(t)
	out := run(t, helm(t), "template", "any", chart(t, "v1.2.3"), everything)
	pinned := regexp.MustCompile(`runAsUser|runAsGroup|fsGroup|supplementalGroups|hostPath|emptyDir`)
	g.Expect(pinned.FindAllString(out, -1)).To(BeEmpty())
	pods := 0
	for key, object := range objects(t, out) {
		template, found, _ := unstructured.NestedMap(object, "spec", "template", "spec")
		if object["kind"] == "Pod" {
			template, found, _ = unstructured.NestedMap(object, "spec")
		}
		if !found {
			continue
		}
		pods++
		g.Expect(nested[bool](t, template, "securityContext", "runAsNonRoot")).To(BeTrue(), key)
		container := nested[[]any](t, template, "containers")[0].(map[string]any)
		g.Expect(nested[bool](t, container, "securityContext", "readOnlyRootFilesystem")).To(BeTrue(), key)
		for _, mount := range nested[[]any](t, container, "volumeMounts") {
			g.Expect(mount).To(HaveKeyWithValue("readOnly", true), key)
		}
	}
	g.Expect(pods).To(Equal(4))
	// The kubelet can't tell whether a user with a name is root.
	users := regexp.MustCompile(`(?m)^USER (.*)$`).FindAllStringSubmatch(read(t, install.Config(".."), "Dockerfile"), -1)
	g.Expect(users).To(HaveLen(2))
	for _, user := range users {
		g.Expect(user[1]).To(MatchRegexp(`^[1-9]\d*:[1-9]\d*$`))
	}
}
