package override_test

import (
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/override"
)

// TestHeaders checks the form of the list, and that it has the headers of published bypasses.
func TestHeaders(t *testing.T) {
	names := override.Names()
	for i, h := range override.Headers {
		if slices.Index(names, strings.ToLower(h.Name)) != i {
			t.Errorf("%s is there twice", h.Name)
		}
		if textproto.CanonicalMIMEHeaderKey(h.Name) == "" || strings.ContainsAny(h.Name, "_ ") || h.ReadBy == "" {
			t.Errorf("%+v: not a header's name, or nothing reads it", h)
		}
		if !slices.Contains([]override.Part{override.Method, override.Path, override.Host, override.Scheme}, h.Part) {
			t.Errorf("%s overrides %q", h.Name, h.Part)
		}
	}
	for _, name := range []string{ // CVE-2018-14773, CVE-2025-61780, PortSwigger's Host header attacks, RFC 7239.
		"x-http-method-override", "x-http-method", "x-method-override", "x-original-method", "x-forwarded-method",
		"x-original-url", "x-rewrite-url", "x-original-uri", "x-forwarded-uri", "x-forwarded-path", "x-forwarded-prefix",
		"x-sendfile-type", "x-accel-mapping", "x-forwarded-host", "x-original-host", "x-forwarded-server", "x-host",
		"x-http-host-override", "forwarded", "x-forwarded-scheme",
	} {
		if !slices.Contains(names, name) {
			t.Errorf("%s is not there", name)
		}
	}
}

// TestAliases checks that no choice of hyphens and underscores is missing.
func TestAliases(t *testing.T) {
	aliases := override.Aliases()
	for _, name := range []string{
		"x_http_method_override", "x-http_method-override", "x_original-url", "x-original_url", "x_host", "script_name",
		"path_info",
	} {
		if !slices.Contains(aliases, name) {
			t.Errorf("%s is not there", name)
		}
	}
	for _, name := range aliases {
		if !strings.Contains(name, "_") {
			t.Errorf("%s has no underscore", name)
		}
	}
}
