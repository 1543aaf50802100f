package programs

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// publicIndex is the Python package index that pip asks by default.
const publicIndex = "https://pypi.org/simple"

// tooLong is more than the page of one project in an index can be.
const tooLong = 32 << 20

// locate asks the index for the address of a wheel, in either form of its simple interface (PEP 503, PEP 691). The
// index is not trusted with the checksum.
func (d *downloader) locate(ctx context.Context, project string, file File) (string, error) {
	page, err := url.JoinPath(d.index, project, "/")
	if err != nil {
		return "", err
	}
	header := http.Header{"Accept": {"application/vnd.pypi.simple.v1+json, text/html;q=0.1"}}
	address := ""
	err = d.get(ctx, page, header, func(response *http.Response, body io.Reader) error {
		if response.StatusCode != http.StatusOK {
			return refusal(response)
		}
		content, err := io.ReadAll(io.LimitReader(body, tooLong))
		if err != nil {
			return err
		}
		found := wheelIn(content, strings.Contains(response.Header.Get("Content-Type"), "json"), file.Name)
		if found == "" {
			return fmt.Errorf("the index has no %s", file.Name)
		}
		absolute, err := response.Request.URL.Parse(found)
		if err != nil {
			return err
		}
		address = absolute.String()
		return nil
	})
	return address, err
}

var link = regexp.MustCompile(`<a[^>]*\shref="([^"#]+)`)

// wheelIn returns a file's address from the page of an index.
func wheelIn(page []byte, isJSON bool, name string) string {
	if isJSON {
		var project struct {
			Files []struct{ Filename, URL string }
		}
		if json.Unmarshal(page, &project) == nil {
			for _, file := range project.Files {
				if file.Filename == name {
					return file.URL
				}
			}
		}
		return ""
	}
	for _, match := range link.FindAllSubmatch(page, -1) {
		address := strings.ReplaceAll(string(match[1]), "&amp;", "&")
		if parsed, err := url.Parse(address); err == nil && path.Base(parsed.Path) == name {
			return address
		}
	}
	return ""
}

// pythonIndex returns the index that pip would ask: the one of the environment, of pip's configuration, or the public
// one.
func pythonIndex() string {
	if index := os.Getenv("PIP_INDEX_URL"); index != "" {
		return index
	}
	home, err := os.UserHomeDir()
	files := []string{os.Getenv("PIP_CONFIG_FILE")}
	if err == nil {
		config := cmp.Or(os.Getenv("XDG_CONFIG_HOME"), filepath.Join(home, ".config"))
		files = append(files, filepath.Join(config, "pip", "pip.conf"), filepath.Join(home, ".pip", "pip.conf"))
	}
	for _, file := range append(files, "/etc/xdg/pip/pip.conf", "/etc/pip.conf") {
		if index, err := indexIn(file); err == nil {
			return index
		}
	}
	return publicIndex
}

var indexURL = regexp.MustCompile(`^\s*index[-_]url\s*[=:]\s*(\S+)`)

// indexIn returns the index of a pip configuration.
func indexIn(file string) (string, error) {
	content, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer content.Close() //nolint:errcheck // Nothing was written.
	for scanner := bufio.NewScanner(content); scanner.Scan(); {
		if match := indexURL.FindStringSubmatch(scanner.Text()); match != nil {
			return match[1], nil
		}
	}
	return "", errors.New("no index")
}
