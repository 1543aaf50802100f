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
	pinned = regexp.MustCompile(`^[\w-]+/[\w-]+@[0-9a-f]{40}$`)
)

var _ = Describe("Workflows", func() {
	It("use actions by their commits, and say which versions those are", func() {
		paths, err := filepath.Glob(folder("../.github/workflows/*"))
		Expect(err).NotTo(HaveOccurred())
		Expect(paths).NotTo(BeEmpty())
		for _, path := range paths {
			content, err := os.ReadFile(path)
			Expect(err).NotTo(HaveOccurred())
			var workflow struct {
				Permissions map[string]string
				Jobs        map[string]any
			}
			Expect(yaml.Unmarshal(content, &workflow)).To(Succeed())
			Expect(workflow.Permissions).To(Equal(map[string]string{"contents": "read"}), "what a job needs beyond, it says itself")
			Expect(workflow.Jobs).NotTo(BeEmpty())
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
})
