package bypass_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/override"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// caller is a key whose identity headers a request may carry.
type caller struct {
	id, name, tenant string
	scopes           []string
}

// identity returns the identity headers of a caller, by their names in lower case.
func (c caller) identity() map[string]string {
	return map[string]string{
		"x-api-key-id": c.id, "x-api-key-name": c.name, "x-api-key-scopes": strings.Join(c.scopes,
			" "), "x-api-key-tenant": c.tenant,
	}
}

// oracle decides whether a request that the upstream received may have reached it.
type oracle struct {
	policies []*keysv1alpha1.AccessPolicy
	// callers are the keys whose tokens the cases may use, by ID. No request may carry the identity of another key.
	callers map[string]caller
	// client is the address that every case is sent from.
	client string
}

// misleading are headers that make some framework read another method, path, host or scheme than the request's own. A
// proxy may write X-Forwarded-Host itself, so fault checks the host that this names.
var misleading = slices.DeleteFunc(override.Names(), func(name string) bool { return name == "x-forwarded-host" })

// fault returns why a request must not have reached the upstream, or nothing.
func (o *oracle) fault(r *proxies.Received) string {
	if r.Broken != "" {
		return "the request can be parsed in more than one way: " + r.Broken
	}
	for name := range strings.SplitSeq(strings.ToLower(strings.Join(r.Values("connection"), ",")), ",") {
		if name = strings.TrimSpace(name); name == "x-tenant-id" || strings.HasPrefix(name, "x-api-key-") {
			return "Connection names " + name + ", which the next proxy removes"
		}
	}
	for _, name := range misleading {
		// A proxy may name the real scheme.
		if values := r.Values(name); len(values) > 0 &&
			(!strings.HasSuffix(name, "scheme") || !slices.Equal(values, []string{"http"})) {
			return fmt.Sprintf("%s is %q", name, values)
		}
	}
	if values := r.Values("x-forwarded-for"); len(values) > 0 && !slices.Equal(values, []string{o.client}) {
		return fmt.Sprintf("X-Forwarded-For names the client %q", values)
	}
	who, known := o.who(r)
	if !known {
		return "its identity headers are not those of a caller"
	}
	hosts, paths, sensible := readingsOf(r)
	if !sensible {
		return "its target is not a path"
	}
	for _, host := range hosts {
		if r.Site != nil && !r.Site.Serves(host) {
			return fmt.Sprintf("it is for the host %s, and reaches the upstream of %s", host, r.Site.Name)
		}
		for _, path := range paths {
			if !o.may(who, host, r.Method, path) {
				return fmt.Sprintf("read as %s %s%s, it exceeds what the key %q may do", r.Method, host, path, who.id)
			}
		}
	}
	return ""
}

// who returns the caller that the identity headers name, or the zero caller if they name none. It is false unless they
// are exactly those of one caller. Underscores count as hyphens (RFC 3875 section 4.1.18), so an alias is one more
// value.
func (o *oracle) who(r *proxies.Received) (caller, bool) {
	id := strings.Join(r.Values("x-api-key-id"), ",")
	who, known := o.callers[id]
	if id != "" && !known {
		return caller{}, false
	}
	for name, value := range who.identity() {
		values := r.Values(name)
		if value == "" && len(values) == 0 {
			continue
		}
		if !slices.Equal(values, []string{value}) {
			return caller{}, false
		}
	}
	if who.id != "" {
		if values := r.Values("x-tenant-id"); len(values) != 1 || !strings.EqualFold(values[0], who.tenant) {
			return caller{}, false
		}
	}
	return who, true
}

// may reports whether a caller may use a route. The zero caller may use anonymous routes.
func (o *oracle) may(who caller, host, method, path string) bool {
	rule := o.rule(host, method, path)
	switch {
	case rule == nil:
		return false
	case rule.Anonymous != nil && *rule.Anonymous:
		return true
	}
	for _, scope := range rule.Scopes {
		if !slices.Contains(who.scopes, string(scope)) {
			return false
		}
	}
	return who.id != "" && len(rule.AnyOf) == 0
}

// rule finds the rule of a route as docs/accesspolicy.md describes: the name itself or else the longest wildcard, then
// the most specific path, then the rule that names the method. No two policies here have a host in common.
func (o *oracle) rule(host, method, path string) (found *keysv1alpha1.AccessRule) {
	var policy *keysv1alpha1.AccessPolicy
	longest := -1
	for _, p := range o.policies {
		for _, h := range p.Spec.Hosts {
			suffix, wildcard := strings.CutPrefix(string(h), "*")
			switch {
			case !wildcard && host == string(h):
				policy, longest = p, 1000
			case wildcard && len(host) > len(suffix) && strings.HasSuffix(host, suffix) && len(suffix) > longest:
				policy, longest = p, len(suffix)
			}
		}
	}
	if policy == nil {
		return nil
	}
	best := -1
	for i := range policy.Spec.Rules {
		rule := &policy.Spec.Rules[i]
		for _, match := range rule.Paths {
			rank := len(match.Value)
			if match.Type == keysv1alpha1.PathExact {
				rank += 1000
				if path != match.Value {
					continue
				}
			} else if prefix := strings.TrimSuffix(match.Value, "/"); path != prefix && !strings.HasPrefix(path, prefix+"/") {
				continue
			}
			if rank > best {
				best, found = rank, nil
			}
			if rank == best && (len(rule.Methods) == 0 && found == nil ||
				slices.Contains(rule.Methods, keysv1alpha1.Method(method))) {
				found = rule
			}
		}
	}
	return found
}

// rewrites are what proxies and frameworks do to a path before they look for a route or a file.
var rewrites = []func(string) string{
	func(p string) string { // Percent-decoding, if possible.
		if decoded, err := url.PathUnescape(p); err == nil {
			return decoded
		}
		return p
	},
	func(p string) string { // Collapsing slashes: nginx, Envoy.
		for strings.Contains(p, "//") {
			p = strings.ReplaceAll(p, "//", "/")
		}
		return p
	},
	dotless, // RFC 3986 section 5.2.4.
	func(p string) string { return strings.ReplaceAll(p, `\`, "/") }, // IIS, Envoy.
	func(p string) string { return eachSegment(p, cutter(";")) },     // Java's path parameters.
	func(p string) string { return before(p, ";") },                  // Rack, once.
	func(p string) string { return before(p, "#") },                  // A fragment.
	func(p string) string { return before(p, "?") },                  // A query that was encoded.
	func(p string) string { return before(p, "\x00") },               // C.
	func(p string) string { return before(p, "\n") },                 // A regular expression's dot and dollar.
	strings.ToLower, // Express, ASP.NET.
	func(p string) string { return eachSegment(p, strings.TrimSpace) },          // Spring, Shiro.
	func(p string) string { return eachSegment(p, trimDots) },                   // Windows.
	func(p string) string { return strings.TrimSuffix(p, "/") },                 // Spring before 6, Express.
	func(p string) string { return strings.TrimSuffix(p, extension(p)) },        // Rails, Spring before 5.3.
	func(p string) string { return compatible.Replace(p) },                      // NFKC: UAX #15.
	func(p string) string { return strings.ReplaceAll(p, "%u002f", "/") },       // IIS.
	func(p string) string { return strings.ReplaceAll(p, "\xc0\xaf", "/") },     // Overlong: RFC 3629 section 10.
	func(p string) string { return strings.ReplaceAll(p, "\xc0\xae", ".") },     // The same, of a dot.
	func(p string) string { return strings.ReplaceAll(p, "\xe0\x80\xaf", "/") }, // Three bytes long.
}

var compatible = strings.NewReplacer("／", "/", "．", ".", "；", ";", "＼", `\`, "％", "%", "？", "?", "＃", "#", "‥", "..",
	"․", ".")

func before(s, mark string) string {
	s, _, _ = strings.Cut(s, mark)
	return s
}

func cutter(mark string) func(string) string { return func(s string) string { return before(s, mark) } }

func trimDots(segment string) string {
	if strings.Trim(segment, ".") == "" {
		return segment // Dot segments are resolved, not trimmed.
	}
	return strings.TrimRight(segment, ". ")
}

func extension(p string) string {
	last := p[strings.LastIndex(p, "/")+1:]
	if i := strings.LastIndex(last, "."); i > 0 {
		return last[i:]
	}
	return ""
}

func eachSegment(p string, do func(string) string) string {
	segments := strings.Split(p, "/")
	for i := range segments {
		segments[i] = do(segments[i])
	}
	return strings.Join(segments, "/")
}

// dotless resolves the segments . and .., as RFC 3986 section 5.2.4 says.
func dotless(p string) string {
	var kept []string
	segments := strings.Split(strings.TrimPrefix(p, "/"), "/")
	for i, segment := range segments {
		last := i == len(segments)-1
		switch segment {
		case ".", "..":
			if segment == ".." && len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, segment)
		}
	}
	return "/" + strings.Join(kept, "/")
}

// maxReadings bounds the combinations of rewrites that are followed.
const maxReadings = 500

// readings returns every path that some software could take a path for.
func readings(path string) []string {
	all, seen := []string{path}, map[string]bool{path: true}
	for i := 0; i < len(all) && len(all) < maxReadings; i++ {
		for _, rewrite := range rewrites {
			reading := rewrite(all[i])
			if reading == "" {
				reading = "/"
			}
			if !seen[reading] {
				seen[reading] = true
				all = append(all, reading)
			}
		}
	}
	return all
}

// readingsOf returns every host and path that some software could take a request to be for. It is false if there is
// none.
func readingsOf(r *proxies.Received) (hosts, paths []string, ok bool) {
	path, authorities := r.Target, r.Values("host")
	if _, rest, absolute := strings.Cut(path, "://"); absolute && !strings.HasPrefix(path, "/") {
		end := strings.IndexAny(rest, `/?#\`)
		if end < 0 {
			return nil, nil, false
		}
		authorities = append(authorities, rest[:end])
		path = rest[end:]
	}
	if !strings.HasPrefix(path, "/") || len(authorities) == 0 {
		return nil, nil, false
	}
	if forwarded := r.Values("x-forwarded-host"); len(forwarded) > 0 {
		authorities = append(authorities, forwarded...)
	}
	for _, authority := range authorities {
		for host := range strings.SplitSeq(authority, ",") {
			hosts = append(hosts, hostName(host), hostName(host[strings.LastIndex(host, "@")+1:]))
		}
	}
	return hosts, readings(before(path, "?")), true
}

// hostName returns the host that an authority is for.
func hostName(authority string) string {
	host := strings.ToLower(strings.TrimSpace(authority))
	if i := strings.LastIndex(host, ":"); i >= 0 && !strings.Contains(host[i:], "]") {
		host = host[:i]
	}
	return strings.TrimSuffix(host, ".")
}

// TestOracle checks the oracle itself: what it must report, and that it does not report everything.
func TestOracle(t *testing.T) {
	o := newOracle()
	const who = "X-Tenant-ID: " + acme +
		"\r\nX-Api-Key-Id: Reader01\r\nX-Api-Key-Name: shop/reader\r\nX-Api-Key-Scopes: products:read site:read" +
		"\r\nX-Api-Key-Tenant: " + acme + "\r\n"
	const host = "Host: api.example.com\r\n"
	for request, fine := range map[string]bool{
		"GET /api/products?a=b HTTP/1.1\r\n" + host + who:                               true,
		"GET /about/us HTTP/1.1\r\n" + host + who:                                       true,
		"GET /a HTTP/1.1\r\nHost: www.shop.example.com\r\n" + who:                       true,
		"GET /public/a HTTP/1.1\r\n" + host:                                             true,
		"GET /public/a HTTP/1.1\r\n" + host + "X-Api-Key-Id: \r\n":                      true,
		"GET /public/a HTTP/1.1\r\n" + host + "X-Api-Key-Id: Admin001\r\n":              false,
		"GET /public/a HTTP/1.1\r\n" + host + "X_Api_Key_Scopes: *\r\n":                 false,
		"GET /api/products HTTP/1.1\r\n" + host:                                         false,
		"GET /api/products HTTP/1.1\r\n" + host + who + "X-Api-Key-Id: Reader01\r\n":    false,
		"GET /api/products HTTP/1.1\r\n" + host + who + "X_Tenant_ID: " + acme + "\r\n": false,
		"GET /api/products HTTP/1.1\r\n" + host + who + "Connection: x-tenant-id\r\n":   false,
		"GET /api/products HTTP/1.1\r\n" + host + who + "X-Original-URL: /admin\r\n":    false,
		"GET /api/products HTTP/1.1\r\n" + host + who + "X-Forwarded-For: 1.2.3.4\r\n":  false,
		"GET /api/products HTTP/1.1\r\n" + host + who + "X-Forwarded-Host: a.b\r\n":     false,
		"GET /api/products HTTP/1.1\r\nHost: admin.example.com\r\n" + who:               false,
		"GET /api/products HTTP/1.1\r\n" + host + "Host: a\r\n" + who:                   false,
		"GET http://admin.example.com/api/products HTTP/1.1\r\n" + host + who:           false,
		"GET / HTTP/1.1\r\nHost: vip.shop.example.com\r\n" + who:                        false,
		"POST /api/products HTTP/1.1\r\n" + host + who:                                  false,
		"GET /api/products/export HTTP/1.1\r\n" + host + who:                            false,
		"GET /api/products/export/ HTTP/1.1\r\n" + host + who:                           false,
		"OPTIONS * HTTP/1.1\r\n" + host + who:                                           false,
		"GET /Admin HTTP/1.1\r\n" + host + who:                                          false,
		"GET /a/%252e%252e/admin HTTP/1.1\r\n" + host + who:                             false,
		"GET /a/..;/admin HTTP/1.1\r\n" + host + who:                                    false,
		`GET \admin HTTP/1.1` + "\r\n" + host + who:                                     false,
		`GET /a\..\admin HTTP/1.1` + "\r\n" + host + who:                                false,
		"GET /%ef%bc%8fadmin HTTP/1.1\r\n" + host + who:                                 false,
		"GET /a HTTP/1.1\r\n" + host + who + "Transfer-Encoding: xchunked\r\n":          false,
		"GET /a HTTP/1.1\r\n" + host + who + " folded: x\r\n":                           false,
		"GET /a HTTP/1.1\r\n" + host + who + "Content-Length: 1\r\nContent-Length: 1":   false,
	} {
		if fault := o.fault(proxies.Parse([]byte(request + "\r\n"))); (fault == "") != fine {
			t.Errorf("%q: %s", request, fault)
		}
	}
	for host, name := range map[string]string{
		"api.example.com": "api", "www.shop.example.com": "api", "open.example.com": "open", "admin.example.com": "admin",
		"vip.shop.example.com": "admin",
	} {
		for i := range proxies.Sites {
			r := proxies.Parse([]byte("GET /public HTTP/1.1\r\nHost: " + host + "\r\n\r\n"))
			r.Site = &proxies.Sites[i]
			elsewhere := strings.Contains(o.fault(r), "reaches the upstream of")
			if elsewhere == (proxies.Sites[i].Name == name) {
				t.Errorf("%s at the upstream of %s: %t", host, proxies.Sites[i].Name, elsewhere)
			}
		}
	}
}
