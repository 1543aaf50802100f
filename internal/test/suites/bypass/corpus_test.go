package bypass_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/override"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// minHostile is the minimum number of hostile requests.
const minHostile = 600

// attack is one case of the corpus.
type attack struct {
	// id names it. No other case has it.
	id string
	// source is where the case comes from: a CVE, a section of an RFC, or the number of a weakness.
	source string
	// raw are the bytes to be sent.
	raw []byte
	// line is its line in the file.
	line int
	// text is the request as it is written in the file.
	text string
}

// readCorpus reads a file of testdata.
func readCorpus(t *testing.T, name string, values map[string]string) []attack {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var corpus []attack
	ids, texts := map[string]bool{}, map[string]bool{}
	for i, line := range strings.Split(string(content), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		columns := strings.Split(line, "\t")
		if len(columns) != 3 || columns[0] == "" || columns[1] == "" {
			t.Fatalf("%s:%d: not an id, a source and a request, with tabs between them", name, i+1)
		}
		c := attack{id: columns[0], source: columns[1], text: columns[2], line: i + 1}
		if ids[c.id] || texts[c.text] {
			t.Errorf("%s:%d: duplicate id %s", name, c.line, c.id)
		}
		ids[c.id], texts[c.text] = true, true
		if c.raw, err = unescape(c.text, values); err != nil {
			t.Errorf("%s:%d: %v", name, c.line, err)
		}
		corpus = append(corpus, c)
	}
	return corpus
}

// overriding returns a request for each header that overrides one, by its own name and with underscores.
func overriding(values map[string]string) (corpus []attack) {
	content := map[override.Part]string{override.Method: "DELETE", override.Path: "/admin",
		override.Host: "admin.example.com", override.Scheme: "https"}
	for _, h := range override.Headers {
		for _, name := range []string{h.Name, strings.ReplaceAll(h.Name, "-", "_")} {
			text := "GET /api/products HTTP/1.1\r\n" + values["host"] + values["key"] + name + ": " + content[h.Part] +
				"\r\n\r\n"
			corpus = append(corpus,
				attack{id: "override-" + name, source: h.ReadBy, raw: []byte(text), text: name + ": " + content[h.Part]})
		}
	}
	return corpus
}

// atProducts returns the cases that test a part of a request other than its path, with the one path that some proxies
// are configured for.
func atProducts(corpus []attack) (moved []attack) {
	move := strings.NewReplacer("/about", "/api/products", "/users", "/api/products")
	for _, c := range corpus {
		if raw := move.Replace(string(c.raw)); raw != string(c.raw) {
			c.id, c.raw, c.text = c.id+"-products", []byte(raw), move.Replace(c.text)
			moved = append(moved, c)
		}
	}
	return moved
}

// aboutHosts are the cases about what the configuration of a controller decides, whatever its version of nginx: which
// host counts, and which headers go. Debian's nginx is older than those controllers' and treats repeated headers in
// another way.
var aboutHosts = []string{"two-hosts-", "override-", "host-", "target-"}

// casesFor returns the cases for a proxy, which are all of them but for two kinds: one that keeps underscores, which is
// there for the headers that override something, and one whose configuration a controller makes.
func casesFor(underscores, generated bool, all []attack) []attack {
	var only []string
	switch {
	case underscores:
		only = []string{"override-"}
	case generated:
		only = aboutHosts
	default:
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(c attack) bool {
		return !slices.ContainsFunc(only, func(prefix string) bool { return strings.HasPrefix(c.id, prefix) })
	})
}

// keepsUnderscores returns a Caddy that lets headers with underscores pass that override something.
func keepsUnderscores() proxies.Proxy {
	var names []string
	for _, name := range override.Names() {
		if strings.Contains(name, "-") {
			names = append(names, strings.ReplaceAll(name, "-", "_"))
		}
	}
	return proxies.KeepsUnderscores(names...)
}

var (
	placeholder = regexp.MustCompile(`\{\{[^{}]+\}\}`)
	repetition  = regexp.MustCompile(`(?s)^(.+)\*(\d+)$`)
	escape      = regexp.MustCompile(`\\(x[0-9a-fA-F]{2}|.|$)`)
)

// unescape converts a request from the form of the file to bytes.
func unescape(text string, values map[string]string) (raw []byte, err error) {
	text = escape.ReplaceAllStringFunc(text, func(s string) string {
		switch s[1:] {
		case "r", "n", "t", `\`:
			return map[string]string{"r": "\r", "n": "\n", "t": "\t", `\`: `\`}[s[1:]]
		}
		b, parseErr := strconv.ParseUint(strings.TrimPrefix(s[1:], "x"), 16, 8)
		if parseErr != nil || len(s) != 4 {
			err = fmt.Errorf("%q is not an escape", s)
		}
		return string([]byte{byte(b)})
	})
	text = placeholder.ReplaceAllStringFunc(text, func(s string) string {
		name := s[2 : len(s)-2]
		if value, ok := values[name]; ok {
			return value
		}
		if m := repetition.FindStringSubmatch(name); m != nil {
			n, _ := strconv.Atoi(m[2])
			return strings.Repeat(m[1], n)
		}
		err = fmt.Errorf("%s is not a placeholder", s)
		return s
	})
	return []byte(text), err
}

// TestCorpus checks the form of the files.
func TestCorpus(t *testing.T) {
	values := map[string]string{}
	for _, name := range placeholders {
		values[name] = "x"
	}
	if hostile := readCorpus(t, "hostile.txt", values); len(hostile) < minHostile {
		t.Errorf("%d hostile requests, fewer than %d", len(hostile), minHostile)
	}
	if harmless := readCorpus(t, "harmless.txt", values); len(harmless) < 10 {
		t.Errorf("%d harmless requests", len(harmless))
	}
}
