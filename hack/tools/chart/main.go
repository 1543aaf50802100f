// Command chart writes the Helm chart from config/, so that there is nothing to keep in step: objects are what kustomize makes of
// config/default and of the components, with the places that values change replaced by template actions. What is replaced must be
// there, exactly once, or the program fails. files/ has what only a chart has.
//
//	chart --kubectl PATH --version V --image NAME:TAG --out DIR     at the top of the repository
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

//go:embed all:files
var files embed.FS

func main() {
	kubectl := flag.String("kubectl", "kubectl", "Path of kubectl, whose kustomize is used.")
	version := flag.String("version", "unknown", "Version of the programs.")
	image := flag.String("image", "", "Name and tag of their image. Without it, as config/ has it, with the version for its tag.")
	out := flag.String("out", "", "Folder to write the chart to. What is there is removed.")
	flag.Parse()
	if err := run(context.Background(), *kubectl, *version, *image, *out); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubectl, version, image, out string) error {
	if out == "" {
		return errors.New("--out must not be empty")
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	chart := map[string]string{}
	if err := static(chart, version); err != nil {
		return err
	}
	if at := strings.LastIndex(image, ":"); at > 0 {
		values, err := apply(chart["values.yaml"],
			edit{"  repository: apikey-operator\n", "  repository: " + image[:at] + "\n"}, edit{`  tag: ""`, fmt.Sprintf("  tag: %q", image[at+1:])})
		if err != nil {
			return err
		}
		chart["values.yaml"] = values
	}
	s := &sources{ctx: ctx, kubectl: kubectl}
	for _, write := range []func(*sources, map[string]string) error{installation, monitoring, certificates, networkPolicies, console} {
		if err := write(s, chart); err != nil {
			return err
		}
	}
	for name, content := range chart {
		path := filepath.Join(out, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// static adds the files that are as they are, but for the version.
func static(chart map[string]string, version string) error {
	return fs.WalkDir(files, "files", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := files.ReadFile(path)
		text := strings.ReplaceAll(string(content), "CHART_VERSION", semantic(version))
		chart[strings.TrimPrefix(path, "files/")] = strings.ReplaceAll(text, "APP_VERSION", version)
		return err
	})
}

var isSemantic = regexp.MustCompile(`^\d+\.\d+\.\d+([-+][0-9A-Za-z.-]+)?$`)

// semantic makes a version one that Helm takes: a commit comes before all releases.
func semantic(version string) string {
	if bare := strings.TrimPrefix(version, "v"); isSemantic.MatchString(bare) {
		return bare
	}
	return "0.0.0-" + regexp.MustCompile(`[^0-9A-Za-z-]`).ReplaceAllString(version, "-")
}

// sources are the folders of config/.
type sources struct {
	ctx     context.Context
	kubectl string
}

// object is one of a rendered folder's.
type object struct {
	kind, name, text string
}

var (
	kindLine = regexp.MustCompile(`(?m)^kind: (\w+)$`)
	nameLine = regexp.MustCompile(`(?m)^metadata:\n(?: {2}.*\n)*? {2}name: (\S+)$`)
)

// objects renders a folder of config/.
func (s *sources) objects(folder string) ([]object, error) {
	out, err := exec.CommandContext(s.ctx, s.kubectl, "kustomize", filepath.Join("config", folder)).Output()
	if err != nil {
		return nil, fmt.Errorf("kustomize config/%s: %w", folder, err)
	}
	return parse(string(out))
}

func parse(manifests string) ([]object, error) {
	var all []object
	for text := range strings.SplitSeq(strings.TrimSuffix(manifests, "\n"), "\n---\n") {
		kind, name := kindLine.FindStringSubmatch(text), nameLine.FindStringSubmatch(text)
		if kind == nil || name == nil {
			return nil, fmt.Errorf("an object without a kind or a name: %.80s", text)
		}
		all = append(all, object{kind[1], name[1], text + "\n"})
	}
	return all, nil
}

// template makes an object's text a template that renders it, in the namespace of the release.
func (o object) template() string {
	text := strings.ReplaceAll(o.text, "{{", "{{ `{{` }}")
	return strings.ReplaceAll(text, "apikey-system", "{{ .Release.Namespace }}")
}

// when puts a condition around a template.
func when(condition, template string) string {
	return "{{- if " + condition + " }}\n---\n" + template + "{{- end }}\n"
}

// edit is a replacement in a template.
type edit struct {
	old, new string
}

// apply makes replacements, of which each must be possible exactly once.
func apply(template string, edits ...edit) (string, error) {
	for _, e := range edits {
		if n := strings.Count(template, e.old); n != 1 {
			return "", fmt.Errorf("%q is there %d times, not once, in %.200s", e.old, n, template)
		}
		template = strings.Replace(template, e.old, e.new, 1)
	}
	return template, nil
}
