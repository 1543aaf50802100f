package manifests_test

import (
	"os"
	"path/filepath"
	"regexp"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/util/yaml"
)

var (
	uses   = regexp.MustCompile(`(?m)uses: (\S+)(.*)$`)
	makes  = regexp.MustCompile(`(?m)^ *(?:- run: |run: )?make ([a-z0-9-]+)`)
	pinned = regexp.MustCompile(`^[\w-]+/[\w-]+@[0-9a-f]{40}$`)
)

var _ = Describe("Workflows", func() {
	It("use actions by their commits, say which versions those are, and make what there is to make", func() {
		paths, err := filepath.Glob(folder("../.github/workflows/*"))
		Expect(err).NotTo(HaveOccurred())
		Expect(paths).NotTo(BeEmpty())
		makefile, err := os.ReadFile(folder("../Makefile"))
		Expect(err).NotTo(HaveOccurred())
		for _, path := range paths {
			content, err := os.ReadFile(path)
			Expect(err).NotTo(HaveOccurred())
			var workflow struct {
				Permissions map[string]string
				Jobs        map[string]any
			}
			Expect(yaml.Unmarshal(content, &workflow)).To(Succeed())
			Expect(workflow.Permissions).To(Equal(map[string]string{"contents": "read"}),
				"what a job needs beyond, it says itself")
			Expect(workflow.Jobs).NotTo(BeEmpty())
			for _, match := range makes.FindAllStringSubmatch(string(content), -1) {
				Expect(string(makefile)).To(MatchRegexp(`(?m)^`+match[1]+`:`), "make %s in %s", match[1], path)
			}
			for _, match := range uses.FindAllStringSubmatch(string(content), -1) {
				if local, ok := filepath.Rel("./.github/workflows", match[1]); ok == nil && filepath.IsLocal(local) {
					Expect(filepath.Join(filepath.Dir(path), local)).To(BeARegularFile())
					continue
				}
				Expect(match[1]).To(MatchRegexp(pinned.String()), path)
				Expect(match[2]).To(MatchRegexp(`^ # v\d+\.\d+\.\d+$`), match[1])
			}
		}
	})

	It("release kinds only where later ones are compared with them", func() {
		content, err := os.ReadFile(folder("../.github/workflows/release.yaml"))
		Expect(err).NotTo(HaveOccurred())
		var workflow struct {
			Jobs map[string]struct {
				Needs []string
				Steps []struct{ Name, Run string }
			}
		}
		Expect(yaml.Unmarshal(content, &workflow)).To(Succeed())
		publish := workflow.Jobs["publish"]
		Expect(publish.Needs).To(ConsistOf("test", "fresh"))
		step := func(name string) int {
			for i, each := range publish.Steps {
				if each.Name == name {
					return i
				}
			}
			Fail("no step " + name)
			return 0
		}
		kinds := publish.Steps[step("kinds")]
		Expect(kinds.Run).To(And(ContainSubstring("make release-crds\n"),
			ContainSubstring("git status --porcelain -- hack/tools/crdcompat/released")))
		Expect(step("kinds")).To(BeNumerically("<", step("image")), "before anything is published")
	})
})
