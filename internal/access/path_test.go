package access_test

import (
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/access"
)

func TestCanonicalPath(t *testing.T) {
	tests := map[string]struct{ target, path string }{
		"the root":                         {"/", "/"},
		"a path":                           {"/api/products", "/api/products"},
		"a trailing slash":                 {"/api/products/", "/api/products/"},
		"a query":                          {"/api/products?limit=10&a=b", "/api/products"},
		"an empty query":                   {"/api/products?", "/api/products"},
		"a query of the root":              {"/?a", "/"},
		"a query that would not be a path": {`/api?u=http://x//../;a\b%2f%zz%&f[a]={1|2}`, "/api"},
		"a question mark in the query":     {"/api?next=https://x.example/?a=b", "/api"},
		"question marks only":              {"/api???", "/api"},
		"a query beyond ASCII":             {"/api/%70roducts?q=café&r=日本語", "/api/products"},
		"an encoded letter":                {"/api/%70roducts", "/api/products"},
		"an encoded letter, lower case":    {"/%6a%6B", "/jk"},
		"an encoded space":                 {"/api/red%20shoes", "/api/red shoes"},
		"an encoded tilde":                 {"/%7Eme", "/~me"},
		"encoded delimiters":               {"/a%3Ab%40c%2Bd%26e%3Df%2Cg%7Ch", "/a:b@c+d&e=f,g|h"},
		"encoded UTF-8":                    {"/caf%C3%A9", "/café"},
		"a joiner, as in Persian":          {"/%D9%85%DB%8C%E2%80%8C%D8%AE%D9%88%D8%A7%D9%87%D9%85", "/می\u200cخواهم"},
		"an emoji":                         {"/%F0%9F%98%80", "/😀"},
		"what RFC 3986 leaves plain":       {"/-._~!$&'()*+,=:@x", "/-._~!$&'()*+,=:@x"},
		"dots within":                      {"/v1.2/a..b/.well-known/..c", "/v1.2/a..b/.well-known/..c"},
		"a plus stays":                     {"/a+b", "/a+b"},
		"the longest":                      {"/" + strings.Repeat("a", 8191), "/" + strings.Repeat("a", 8191)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if path, ok := access.CanonicalPath(test.target); !ok || path != test.path {
				t.Errorf("CanonicalPath(%q) is %q, %t", test.target, path, ok)
			}
		})
	}
}

// refused are targets that some programs read as another path, by what makes them ambiguous.
var refused = map[string][]string{
	"not a path": {
		"", "*", "api", "api/products", "?a=b", "http://h/api", "https://h", "h:443", " /api", "\\api", "%2fapi", "./api",
	},
	"an empty segment": {"//", "//api", "//h/api", "/api//products", "/api/products//", "///"},
	"a dot segment": {"/.", "/..", "/./", "/../", "/api/./products", "/api/../admin", "/api/.",
		"/api/..", "/api/..?a"},
	"an encoded dot":       {"/%2e", "/%2E%2e/admin", "/api/.%2e/admin", "/api/%2e./admin", "/a%2eb", "/api%2e/admin"},
	"a segment with a dot": {"/api./x", "/api../x", "/api/products.", "/...", "/api/.../x", "/api/x.?a"},
	"a semicolon":          {"/api;a=b/products", "/api/..;/admin", "/;", "/api/products;.css", "/api/.;a/x"},
	"an encoded semicolon": {"/api/%3b/admin", "/api/..%3B/admin", "/products%3b.css"},
	"a backslash":          {`/api\admin`, `/\h`, `/api/..\admin`},
	"an encoded backslash": {"/api%5cadmin", "/api/..%5Cadmin"},
	"an encoded slash":     {"/api%2fadmin", "/api/..%2Fadmin", "/%2f"},
	"an encoded percent":   {"/api/%252e%252e/admin", "/%25", "/api/%252fadmin", "/100%25"},
	"an encoded ? or #":    {"/api%3fa", "/api%3Fa", "/api%23a"},
	"a fragment":           {"/#", "/api#a", "/api?a#b", "/api#?a", "/admin#/../public"},
	"a malformed escape": {"/%", "/%2", "/a%", "/a%2", "/%zz", "/%2g", "/%g2", "/%%41", "/%u002f",
		"/%g0%90%80%80", "/% 41", "/%2%66"},
	"not UTF-8": {"/%c0%af", "/%c0%ae%c0%ae/", "/%e0%80%af", "/%f0%80%80%af", "/%ff", "/%80",
		"/%ed%a0%80", "/caf%e9", "/%C3"},
	"a control character": {"/%00", "/api%00.json", "/a%0a", "/a%0d%0ab", "/a%09b", "/%1f", "/%7f",
		"/a%C2%85b", "/a%C2%9Fb"},
	"a line break":          {"/a%E2%80%A8b", "/a%E2%80%A9b"},
	"white space at an end": {"/api/%20", "/api/admin%20", "/api/%20admin/x", "/%20", "/admin%C2%A0", "/%E3%80%80admin"},
	"written unencoded": {"/a b", "/a\tb", "/a\nb", "/a\x00b", "/a\x7fb", "/café", "/\xff", "/a\"b", "/<a>", "/[a]",
		"/a^b", "/a`b", "/{a}", "/a|b"},
	"an unencoded query": {
		"/api?a b", "/api?a\tb", "/api?a\r\nb", "/api?\x00", "/api?\x7f", "/api?é\x00", "/api?é b", "/api?é#b",
		"/api?\xff", "/api?caf\xe9", "/api?a\u0085b", "/api?a\u2028b", "/api?\xc0\xaf",
	},
	"normalises to a delimiter": {
		"/%EF%BC%8F", "/%EF%BC%8E%EF%BC%8E/", "/%EF%BC%BC", "/%EF%BC%85", "/%EF%BC%9B", "/%EF%BC%9F", "/%EF%BC%83",
		"/%CD%BE", "/a%E2%80%A4b", "/%E2%80%A5/", "/%EF%B9%A8", "/%EF%B8%B0", "/%E2%84%80", "/%F0%9F%84%80", "/%EF%B9%94",
	},
	"too long": {"/" + strings.Repeat("a", 8192), "/?" + strings.Repeat("a", 8191)},
}

func TestCanonicalPathRefuses(t *testing.T) {
	for reason, targets := range refused {
		t.Run(reason, func(t *testing.T) {
			for _, target := range targets {
				if path, ok := access.CanonicalPath(target); ok || path != "" {
					t.Errorf("CanonicalPath(%q) is %q, %t", target, path, ok)
				}
			}
		})
	}
}

func TestFlawOf(t *testing.T) {
	for target, want := range map[string]access.Flaw{
		"/api/../admin":                      access.FlawPath,
		"/api/../admin?a b":                  access.FlawPath,
		"https://h/api?a":                    access.FlawPath,
		"":                                   access.FlawPath,
		"/api#a":                             access.FlawPath,
		"/api?a b":                           access.FlawQuery,
		"/api?a#b":                           access.FlawQuery,
		"/api?caf\xe9":                       access.FlawQuery,
		"/api?" + strings.Repeat("a", 8300):  access.FlawLength,
		"/api//" + strings.Repeat("a", 8300): access.FlawLength,
		"/api/%70roducts?" + "\x00":          access.FlawQuery,
	} {
		if _, ok := access.CanonicalPath(target); ok {
			t.Errorf("%.50q is not refused", target)
		}
		if got := access.FlawOf(target); got != want {
			t.Errorf("%.50q has the flaw %d, want %d", target, got, want)
		}
	}
}
