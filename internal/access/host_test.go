package access_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/access"
)

var (
	label   = strings.Repeat("a", 63)
	longest = strings.Join([]string{label, label, label, label[:61]}, ".") // 253 characters
)

// authorities are values of a Host header, and the host that each names; blank if it is refused.
var authorities = map[string]struct{ authority, host string }{
	"as it is":                 {"api.example.com", "api.example.com"},
	"upper case":               {"API.Example.COM", "api.example.com"},
	"a port":                   {"api.example.com:443", "api.example.com"},
	"the highest port":         {"api.example.com:65535", "api.example.com"},
	"the root's dot":           {"api.example.com.", "api.example.com"},
	"the root's dot, a port":   {"api.example.com.:8443", "api.example.com"},
	"one label":                {"localhost", "localhost"},
	"an underscore":            {"my_host.example.com", "my_host.example.com"},
	"an IPv4 address":          {"192.0.2.1:80", "192.0.2.1"},
	"an IPv6 address":          {"[2001:DB8::1]", "[2001:db8::1]"},
	"an IPv6 address, in full": {"[2001:0db8:0:0:0:0:0:1]", "[2001:db8::1]"},
	"an IPv6 address, a port":  {"[2001:db8::1]:443", "[2001:db8::1]"},
	"punycode":                 {"XN--Bcher-kva.example", "xn--bcher-kva.example"},
	"the longest":              {longest + ".:65535", longest},

	"nothing":                        {"", ""},
	"the root":                       {".", ""},
	"only a port":                    {":443", ""},
	"two trailing dots":              {"api.example.com..", ""},
	"an empty label":                 {"api..example.com", ""},
	"a leading dot":                  {".example.com", ""},
	"user information":               {"api.example.com@evil.example", ""},
	"user information, a port":       {"api.example.com:443@evil.example", ""},
	"two ports":                      {"api.example.com:443:80", ""},
	"an empty port":                  {"api.example.com:", ""},
	"port 0":                         {"api.example.com:0", ""},
	"a port too high":                {"api.example.com:65536", ""},
	"a port too long":                {"api.example.com:000443", ""},
	"a port with a sign":             {"api.example.com:+443", ""},
	"a named port":                   {"api.example.com:https", ""},
	"a port with a space":            {"api.example.com:443 ", ""},
	"two hosts":                      {"api.example.com,evil.example", ""},
	"two hosts and a space":          {"api.example.com, evil.example", ""},
	"a space":                        {"api.example.com evil.example", ""},
	"a leading space":                {" api.example.com", ""},
	"a tab":                          {"api.example.com\t", ""},
	"a line break":                   {"api.example.com\r\nX: y", ""},
	"NUL":                            {"api.example.com\x00.evil.example", ""},
	"an escape":                      {"api%2eexample.com", ""},
	"a slash":                        {"api.example.com/x", ""},
	"a backslash":                    {`api.example.com\x`, ""},
	"a question mark":                {"api.example.com?x", ""},
	"a fragment":                     {"api.example.com#x", ""},
	"a scheme":                       {"https://api.example.com", ""},
	"a wildcard":                     {"*.example.com", ""},
	"beyond ASCII":                   {"bücher.example", ""},
	"a full-width dot":               {"api．example.com", ""},
	"the Kelvin sign":                {"\u212aeys.example.com", ""},
	"not UTF-8":                      {"api\xff.example.com", ""},
	"too long":                       {longest + "a", ""},
	"far too long":                   {strings.Repeat("a", 1<<20), ""},
	"an IPv6 address, not closed":    {"[2001:db8::1", ""},
	"an IPv6 address, bare":          {"2001:db8::1", ""},
	"an IPv6 address with a zone":    {"[fe80::1%25eth0]", ""},
	"an IPv6 address with user":      {"[::1]@evil.example", ""},
	"an IPv6 address with a name":    {"[::1].example.com", ""},
	"an IPv6 address, an empty port": {"[::1]:", ""},
	"an IPv6 address, more digits":   {"[::1]x443", ""},
	"an IPv6 address, two ports":     {"[::1]:80:80", ""},
	"an IPv4 address in brackets":    {"[192.0.2.1]", ""},
	"a name in brackets":             {"[api.example.com]", ""},
	"empty brackets":                 {"[]", ""},
}

func TestCanonicalHost(t *testing.T) {
	for name, test := range authorities {
		t.Run(name, func(t *testing.T) {
			host, ok := access.CanonicalHost(test.authority)
			if host != test.host || ok != (test.host != "") {
				t.Errorf("CanonicalHost(%q) is %q, %t", test.authority, host, ok)
			}
		})
	}
}

func FuzzCanonicalHost(f *testing.F) {
	for _, seed := range []string{
		"api.example.com", "API.example.com.:443", "[2001:DB8::1]:80", "a@b", "a..b", "a:0", "a:65536", "a,b",
		".", "[::1%25x]", "[0000:A0::0]:443",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, authority string) {
		host, ok := access.CanonicalHost(authority)
		if !ok {
			if host != "" {
				t.Fatalf("a refused host comes as %q", host)
			}
			return
		}
		if again, ok := access.CanonicalHost(host); !ok || again != host {
			t.Errorf("%q becomes %q, and that %q, %t", authority, host, again, ok)
		}
		if host == "" || len(host) > 253 || strings.ToLower(host) != host || strings.ContainsAny(host, "@%/\\?#,* \t") {
			t.Errorf("%q becomes %q", authority, host)
		}
		begins := host
		if host[0] == '[' { // An address has many spellings.
			end := strings.IndexByte(authority, ']') + 1
			begins = strings.ToLower(authority[:end])
			if netip.MustParseAddr(strings.Trim(begins, "[]")) != netip.MustParseAddr(strings.Trim(host, "[]")) {
				t.Errorf("%q becomes %q, which is another address", authority, host)
			}
		}
		if !strings.HasPrefix(strings.ToLower(authority), begins) {
			t.Errorf("%q becomes %q, which it doesn't begin with", authority, host)
		}
		if rest := authority[len(begins):]; strings.Trim(rest, ".:0123456789") != "" || len(rest) > len(".:65535") {
			t.Errorf("%q becomes %q, without %q", authority, host, rest)
		}
		if host[0] != '[' && (strings.Contains(host, ":") || strings.Contains("."+host+".", "..")) {
			t.Errorf("%q becomes %q, which has an empty label or a colon", authority, host)
		}
	})
}
