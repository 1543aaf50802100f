package access_test

import (
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
)

// request is a host, a method and a path, all canonical.
type request struct{ host, method, path string }

func TestRouteByHost(t *testing.T) {
	matcher := compile(
		newPolicy("exact", 0, hostList("a.example.com"), prefix("/x", "exact")),
		newPolicy("wildcard", 1, hostList("*.example.com"), prefix("/", "wildcard")),
		newPolicy("deeper", 2, hostList("*.b.example.com"), prefix("/", "deeper")),
		newPolicy("merged", 3, hostList("c.example.com", "a.example.com"), prefix("/y", "merged")),
		newPolicy("blank", 4, hostList("blank.example.com")),
		newPolicy("declaring", 5, nil, prefix("/", "declaring")),
	)
	tests := map[string]struct {
		host, path string
		want       keysv1alpha1.Scope
	}{
		"by name":                                  {"a.example.com", "/x", "exact"},
		"by name, from a second policy":            {"a.example.com", "/y", "merged"},
		"a name hides the wildcard":                {"a.example.com", "/z", "refused"},
		"a policy's other host":                    {"c.example.com", "/y", "merged"},
		"a wildcard":                               {"x.example.com", "/", "wildcard"},
		"a wildcard matches every level":           {"x.y.example.com", "/", "wildcard"},
		"a wildcard isn't its parent":              {"example.com", "/", "refused"},
		"a wildcard ends at a dot":                 {"badexample.com", "/", "refused"},
		"the longest wildcard":                     {"x.b.example.com", "/", "deeper"},
		"a wildcard matches another's parent":      {"b.example.com", "/", "wildcard"},
		"below a name there is still the wildcard": {"x.a.example.com", "/", "wildcard"},
		"a host without rules hides the wildcard":  {"blank.example.com", "/", "refused"},
		"an asterisk":                              {"*.example.com", "/", "wildcard"}, // CanonicalHost refuses it
		"another host":                             {"example.org", "/", "refused"},
		"no host":                                  {"", "/", "refused"},
		"an address":                               {"[2001:db8::1]", "/", "refused"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := scopeNeeded(matcher, test.host, "GET", test.path); got != test.want {
				t.Errorf("%s%s needs %q", test.host, test.path, got)
			}
		})
	}
}

// TestAddressesAndPathsAsWritten checks that an address is a host as a client may write it, and that a path without a
// type is a prefix.
func TestAddressesAndPathsAsWritten(t *testing.T) {
	rule := prefix("/api", "read")
	rule.Paths[0].Type = ""
	matcher := compile(newPolicy("p", 0, hostList("[2001:db8::1]", "203.0.113.7"), rule))
	for authority, want := range map[string]keysv1alpha1.Scope{
		"[2001:db8::1]": "read", "[2001:0DB8:0:0::1]:443": "read", "203.0.113.7:80": "read", "[2001:db8::2]": "refused",
	} {
		host, ok := access.CanonicalHost(authority)
		if got := scopeNeeded(matcher, host, "GET", "/api/products"); !ok || got != want {
			t.Errorf("%s (%s) needs %q, want %q", authority, host, got, want)
		}
	}
}

func TestRouteByPath(t *testing.T) {
	matcher := compile(
		newPolicy("p", 0, hostList("h"),
			prefix("/api", "api"), prefix("/api/products", "products"), exact("/api/products", "exact"),
			prefix("/api/orders/", "orders"), exact("/status", "status"), exact("/docs/", "docs"), exact("/docs/a", "a")),
		newPolicy("q", 1, hostList("h"), prefix("/api/products/special", "special")),
		newPolicy("root", 0, hostList("root"), prefix("/", "all"), exact("/", "root")),
	)
	tests := map[string]struct {
		host, path string
		want       keysv1alpha1.Scope
	}{
		"a prefix itself":                     {"h", "/api", "api"},
		"a prefix, a trailing slash":          {"h", "/api/", "api"},
		"below a prefix":                      {"h", "/api/pricing/7", "api"},
		"whole segments":                      {"h", "/api/products-old", "api"},
		"not part of a segment":               {"h", "/apis", "refused"},
		"the longest prefix":                  {"h", "/api/products/7", "products"},
		"the longest prefix, another policy":  {"h", "/api/products/special/7", "special"},
		"an exact path before its prefix":     {"h", "/api/products", "exact"},
		"a prefix with a slash, itself":       {"h", "/api/orders", "orders"},
		"a prefix with a slash, with it":      {"h", "/api/orders/", "orders"},
		"a prefix with a slash, below":        {"h", "/api/orders/7/lines/", "orders"},
		"an exact path":                       {"h", "/status", "status"},
		"below an exact path":                 {"h", "/status/x", "refused"},
		"an exact path with a slash":          {"h", "/docs/", "docs"},
		"an exact path below another":         {"h", "/docs/a", "a"},
		"no path":                             {"h", "/other", "refused"},
		"above every path":                    {"h", "/", "refused"},
		"the root":                            {"root", "/", "root"},
		"the root's prefix matches all":       {"root", "/a/b/c/", "all"},
		"blank, which CanonicalPath refuses":  {"root", "", "refused"},
		"relative, which it refuses too":      {"root", "a", "refused"},
		"two slashes, which it refuses too":   {"h", "/api//products", "api"},
		"only slashes, which it refuses too":  {"h", "//", "refused"},
		"not UTF-8, which it refuses as well": {"h", "/api/\xff", "api"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := scopeNeeded(matcher, test.host, "GET", test.path); got != test.want {
				t.Errorf("%s needs %q", test.path, got)
			}
		})
	}
}

func TestRouteByMethod(t *testing.T) {
	matcher := compile(newPolicy("p", 0, hostList("h"),
		prefix("/", "all"),
		prefix("/products", "read", "GET", "HEAD"), prefix("/products", "write", "POST"),
		prefix("/orders", "any"), prefix("/orders", "delete", "DELETE"),
		exact("/orders/7", "seven", "PUT"),
	))
	tests := map[string]struct {
		method, path string
		want         keysv1alpha1.Scope
	}{
		"named":                                    {"GET", "/products/7", "read"},
		"named second":                             {"HEAD", "/products/7", "read"},
		"named by another rule":                    {"POST", "/products/7", "write"},
		"not named, and no rule without methods":   {"DELETE", "/products/7", "refused"},
		"not named, with a rule without methods":   {"POST", "/orders", "any"},
		"named, beside a rule without methods":     {"DELETE", "/orders", "delete"},
		"an exact path never falls to its prefix":  {"GET", "/orders/7", "refused"},
		"an exact path's own method":               {"PUT", "/orders/7", "seven"},
		"lower case is another method":             {"get", "/products/7", "refused"},
		"lower case where every method is allowed": {"get", "/orders", "any"},
		"blank": {"", "/products", "refused"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := scopeNeeded(matcher, "h", test.method, test.path); got != test.want {
				t.Errorf("%s %s needs %q", test.method, test.path, got)
			}
		})
	}
}

// A path that a lenient router takes for a declared one never falls back to a wider rule.
func TestRouteRefusesNearMisses(t *testing.T) {
	matcher := compile(
		newPolicy("p", 0, hostList("h"),
			prefix("/", "all"), prefix("/api/products", "products"), exact("/api/health", "health"), exact("/api/list/", "list"),
			exact("/api/products", "list-products"), prefix("/api/Mixed", "mixed"),
			prefix("/both", "both"), prefix("/BOTH", "BOTH"),
			prefix("/feed.json", "feed"), prefix("/v1.0", "v1"), prefix("/straße/ÅÄ", "umlaut"), prefix("/.well-known/x", "x"),
			prefix("/key", "key"), prefix("/.hidden", "hidden")),
	)
	tests := map[string]struct {
		path string
		want keysv1alpha1.Scope
	}{
		"case":                                      {"/api/Products/7", "refused"},
		"case above":                                {"/API/products/7", "refused"},
		"case below is the application's":           {"/api/products/ABC", "products"},
		"case of an exact path":                     {"/api/Health", "refused"},
		"case of what is declared in mixed":         {"/api/mixed", "refused"},
		"mixed case, as declared":                   {"/api/Mixed/7", "mixed"},
		"two spellings: one":                        {"/both/7", "both"},
		"two spellings: the other":                  {"/BOTH/7", "BOTH"},
		"two spellings: a third":                    {"/Both/7", "refused"},
		"case beyond ASCII":                         {"/straße/åÄ", "refused"},
		"beyond ASCII, as declared":                 {"/straße/ÅÄ/7", "umlaut"},
		"the Kelvin sign":                           {"/\u212aey", "refused"},
		"a case of a path that isn't declared":      {"/Other", "all"},
		"a case above what isn't declared":          {"/API/other", "all"},
		"an exact path and a slash":                 {"/api/health/", "refused"},
		"an exact path without its slash":           {"/api/list", "refused"},
		"an exact path and a slash, under a prefix": {"/api/products/", "refused"},
		"below an exact path":                       {"/api/health/x", "all"},
		"a suffix of a prefix":                      {"/api/products.json", "refused"},
		"a suffix of a prefix alone":                {"/both.json", "refused"},
		"a suffix of an exact path":                 {"/api/health.json", "refused"},
		"white space and a suffix":                  {"/api/products .json", "refused"},
		"white space and a suffix of an exact path": {"/api/health\u00a0.json", "refused"},
		"a suffix and a slash":                      {"/api/health.json/", "refused"},
		"a suffix and case":                         {"/api/Health.JSON", "refused"},
		"two suffixes":                              {"/api/health.tar.gz", "refused"},
		"a suffix below a prefix":                   {"/api/products/7.json", "products"},
		"a suffix of nothing declared":              {"/api/other.json", "all"},
		"a suffix above the last segment":           {"/api.json/products", "all"},
		"a declared suffix":                         {"/feed.json", "feed"},
		"below a declared suffix":                   {"/feed.json/7", "feed"},
		"without the declared suffix":               {"/feed", "refused"},
		"another than the declared suffix":          {"/feed.xml", "refused"},
		"below, without the declared suffix":        {"/feed/7", "all"},
		"another version, itself":                   {"/v1.1", "refused"},
		"another version, below":                    {"/v1.1/orders", "all"},
		"a leading dot is no suffix":                {"/.other", "all"},
		"a leading dot is no suffix, declared":      {"/.hidden", "hidden"},
		"above what is declared":                    {"/.well-known", "all"},
		"the root":                                  {"/", "all"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := scopeNeeded(matcher, "h", "GET", test.path); got != test.want {
				t.Errorf("%s needs %q", test.path, got)
			}
		})
	}
}

// The maximum length of a segment that is looked up depends on its siblings.
func TestRouteLooksUpLongSegments(t *testing.T) {
	matcher := compile(
		newPolicy("long", 0, hostList("long"), prefix("/", "all"), prefix("/long-name", "long"), prefix("/a", "a")),
		newPolicy("kelvin", 0, hostList("kelvin"), prefix("/", "all"), prefix("/k", "k")),
	)
	if got := scopeNeeded(matcher, "long", "GET", "/long-name"); got != "long" {
		t.Errorf("a long segment beside a short one needs %q", got)
	}
	if got := scopeNeeded(matcher, "kelvin", "GET", "/\u212a"); got != "refused" {
		t.Errorf("a segment that folds to a third of its length needs %q", got)
	}
}
