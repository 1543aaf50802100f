// Command chart writes the Helm chart from config/, so that there is nothing to keep in step: objects are what
// kustomize makes of config/default and of the components, with template actions in the places that values change. A
// place that is not there is an error. config/chart has what only a chart has.
//
//	chart --kubectl PATH --version V --image NAME:TAG --out DIR     at the top of the repository
package main

import (
	"context"
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

func main() {
	kubectl := flag.String("kubectl", "kubectl", "Path of kubectl, whose kustomize is used.")
	version := flag.String("version", "unknown", "Version of the programs.")
	image := flag.String("image", "",
		"Name and tag of their image. Without it, as config/ has it, with the version for its tag.")
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
	if name, tag, ok := cutLast(image, ":"); ok {
		registry, repository, ok := strings.Cut(name, "/")
		if !ok || !strings.ContainsAny(registry, ".:") { // A registry is a host, with a dot or a port.
			registry, repository = "", name
		}
		values, err := setScalars(chart["values.yaml"], map[string]string{
			"image.registry": registry, "image.repository": repository, "image.tag": tag,
		})
		if err != nil {
			return err
		}
		chart["values.yaml"] = values
	}
	var err error
	if chart["README.md"], err = readme(chart["values.yaml"]); err != nil {
		return err
	}
	s := &sources{ctx: ctx, kubectl: kubectl}
	for _, write := range []func(*sources, map[string]string) error{
		installation, monitoring, certificates, networkPolicies, console,
	} {
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

// cutLast cuts a text around the last separator in it.
func cutLast(text, separator string) (before, after string, found bool) {
	at := strings.LastIndex(text, separator)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+len(separator):], true
}

// static adds the files of config/chart, which differ from the chart's only in the version.
func static(chart map[string]string, version string) error {
	folder := filepath.Join("config", "chart")
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		chart[filepath.ToSlash(name)] = string(content)
		return err
	})
	if err != nil {
		return err
	}
	chart["Chart.yaml"], err = setScalars(chart["Chart.yaml"], map[string]string{
		"version": semantic(version), "appVersion": version,
	})
	return err
}

var isSemantic = regexp.MustCompile(`^\d+\.\d+\.\d+([-+][0-9A-Za-z.-]+)?$`)

// semantic turns a version into one that Helm accepts: a commit sorts before all releases.
func semantic(version string) string {
	if bare := strings.TrimPrefix(version, "v"); isSemantic.MatchString(bare) {
		return bare
	}
	return "0.0.0-" + regexp.MustCompile(`[^0-9A-Za-z-]`).ReplaceAllString(version, "-")
}

// sources reads the folders of config/.
type sources struct {
	ctx     context.Context
	kubectl string
}

// objects renders a folder of config/.
func (s *sources) objects(folder string) ([]*template, error) {
	out, err := exec.CommandContext(s.ctx, s.kubectl, "kustomize", filepath.Join("config", folder)).Output()
	if err != nil {
		return nil, fmt.Errorf("kustomize config/%s: %w", folder, err)
	}
	return parse(out)
}

// component reads a file of config/components.
func component(path string) ([]*template, error) {
	content, err := os.ReadFile(filepath.Join("config", "components", path))
	if err != nil {
		return nil, err
	}
	return parse(namespaceVariable.ReplaceAll(content, []byte(namespace)))
}

// namespaceVariable matches what kustomize replaces with the installation's namespace.
var namespaceVariable = regexp.MustCompile(`\$\(APIKEY_[A-Z]+_NAMESPACE\)`)
