package architecture_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// github reads a file for people who report something, or review something.
func github(t *testing.T, path ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestSecurityPolicy checks that there is a private way to report a vulnerability, and that issues lead to it.
func TestSecurityPolicy(t *testing.T) {
	const report = "https://github.com/nexuscommerce/apikey-operator/security/advisories/new"
	for _, path := range []string{"SECURITY.md", ".github/ISSUE_TEMPLATE/config.yml"} {
		if !strings.Contains(github(t, path), report) {
			t.Errorf("%s does not say where to report a vulnerability: %s", path, report)
		}
	}
	for page, words := range map[string][]string{
		"SECURITY.md":     {"## Reporting a vulnerability", "## Supported versions", "## In scope"},
		"docs/upgrade.md": {"## Supported versions", "**Deprecation.**", "**`v1beta1`** comes when"},
		"README.md":       {"(SECURITY.md)"},
	} {
		for _, word := range words {
			if !strings.Contains(github(t, page), word) {
				t.Errorf("%s lacks %q", page, word)
			}
		}
	}
}

// TestCodeOwners checks that every path that has owners is there, and that nothing is without an owner.
func TestCodeOwners(t *testing.T) {
	everything := false
	for line := range strings.Lines(github(t, ".github", "CODEOWNERS")) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		everything = everything || fields[0] == "*"
		if fields[0] != "*" {
			if _, err := os.Stat(filepath.Join(root, fields[0])); err != nil {
				t.Error(err)
			}
		}
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "@nexuscommerce/") {
			t.Errorf("%s: no owner", fields[0])
		}
	}
	if !everything {
		t.Error("most files have no owner")
	}
}

// TestIssueTemplates checks the fields that GitHub wants of an issue form, and that a form for faults warns of tokens.
func TestIssueTemplates(t *testing.T) {
	for _, name := range []string{"bug.yml", "feature.yml"} {
		content := github(t, ".github", "ISSUE_TEMPLATE", name)
		var form struct {
			Name, Description string
			Body              []struct {
				Type, ID   string
				Attributes struct {
					Label, Value string
					Options      []string
				}
			}
		}
		if err := yaml.Unmarshal([]byte(content), &form); err != nil {
			t.Fatal(err)
		}
		if form.Name == "" || form.Description == "" || len(form.Body) < 3 {
			t.Errorf("%s: %+v", name, form)
		}
		for _, field := range form.Body {
			if field.Type == "markdown" && field.Attributes.Value == "" ||
				field.Type != "markdown" && (field.ID == "" || field.Attributes.Label == "") {
				t.Errorf("%s: %+v", name, field)
			}
		}
		if name == "bug.yml" && !strings.Contains(content, "Never paste a token") {
			t.Errorf("%s does not warn of tokens", name)
		}
	}
}

// TestReleases checks that a release publishes and signs what the documentation says, that what is released is scanned,
// and that every module's dependencies are kept up to date.
func TestReleases(t *testing.T) {
	release := github(t, ".github", "workflows", "release.yaml")
	for _, step := range []string{
		`cosign sign --yes "${IMAGE,,}@$digest"`, `cosign sign --yes "${IMAGE,,}/charts/apikey-operator@$digest"`,
		"cosign sign-blob --yes --bundle checksums.txt.bundle", "make krew ", "dist/apikey.yaml dist/kubectl-apikey_*.tar.gz",
	} {
		if !strings.Contains(release, step) {
			t.Errorf("release.yaml lacks %q", step)
		}
	}
	scan := github(t, ".github", "workflows", "released.yaml")
	for _, step := range []string{
		"schedule:", "git describe --tags", "make verify-vulnerabilities", `VULN_REQUIRED: "1"`,
	} {
		if !strings.Contains(scan, step) {
			t.Errorf("released.yaml lacks %q", step)
		}
	}
	updated := github(t, ".github", "dependabot.yml")
	for _, pattern := range []string{"hack/*/*/go.mod", "hack/*/*/package.json", "hack/*/*/Dockerfile"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		for _, path := range found {
			folder := "/" + strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), root+"/")
			if !strings.Contains(updated, folder) && !strings.Contains(updated, filepath.ToSlash(filepath.Dir(folder))+"/*") {
				t.Errorf("dependabot.yml does not update %s", folder)
			}
		}
	}
}
