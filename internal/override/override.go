// Package override lists the request headers by which a client can make an API handle another request than the one that
// the verifier has allowed. The verifier makes Envoy remove them; the guides for other proxies show how these do.
package override

import "strings"

// Part is the part of a request that a header overrides.
type Part string

// The parts of a request.
const (
	Method Part = "method"
	Path   Part = "path"
	Host   Part = "host"
	Scheme Part = "scheme"
)

// Header is a request header that some framework or popular middleware reads in place of a part of the request.
type Header struct {
	Name string
	Part Part
	// ReadBy names some software that reads it, by default or if configured.
	ReadBy string
}

// Headers lists these headers. X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Port are not among them: proxies set
// them, or append to them, before they ask, so removing them would remove what the proxy reports.
var Headers = []Header{
	{"X-HTTP-Method-Override", Method, "Symfony, Laravel, Rack, ASP.NET Core, Jersey, method-override for Express"},
	{"X-HTTP-Method", Method, "OData, method-override for Express"},
	{"X-Method-Override", Method, "method-override for Express"},
	{"X-Original-Method", Method, "applications behind forward authentication"},
	{"X-Forwarded-Method", Method, "applications behind forward authentication"},

	{"X-Original-URL", Path, "Symfony, Laminas, IIS' URL Rewrite"},
	{"X-Rewrite-URL", Path, "Symfony, Laminas, Yii, ISAPI_Rewrite"},
	{"X-Original-URI", Path, "applications behind forward authentication"},
	{"X-Forwarded-Uri", Path, "applications behind forward authentication"},
	{"X-Forwarded-Path", Path, "applications behind API gateways"},
	{"X-Forwarded-Prefix", Path, "Spring, Symfony, ASP.NET Core, Werkzeug"},
	{"X-Script-Name", Path, "WSGI middleware"},
	{"X-Envoy-Original-Path", Path, "applications behind Envoy"},
	{"X-Sendfile-Type", Path, "Rack"},
	{"X-Accel-Mapping", Path, "Rack"},

	{"X-Forwarded-Host", Host, "Symfony, Laravel, Rails, Django, Express, ASP.NET Core, Spring"},
	{"X-Original-Host", Host, "ASP.NET Core, Azure's Application Gateway"},
	{"X-Forwarded-Server", Host, "Jetty"},
	{"X-Host", Host, "applications behind reverse proxies"},
	{"X-HTTP-Host-Override", Host, "applications behind reverse proxies"},
	{"Forwarded", Host, "Spring, Symfony, Rails, Quarkus (RFC 7239)"},

	{"X-Forwarded-Scheme", Scheme, "Rack, Rails"},
	{"X-Forwarded-Protocol", Scheme, "gunicorn, Django"},
	{"X-Forwarded-Ssl", Scheme, "Rack, gunicorn, Spring"},
	{"X-Url-Scheme", Scheme, "applications behind reverse proxies"},
	{"X-Scheme", Scheme, "WSGI middleware"},
	{"Front-End-Https", Scheme, "applications behind Microsoft's reverse proxies"},
}

// Names returns the names of all headers in lower case.
func Names() []string {
	names := make([]string, len(Headers))
	for i, h := range Headers {
		names[i] = strings.ToLower(h.Name)
	}
	return names
}

// Aliases returns, in lower case, the names that an application that reads underscores as hyphens takes for one of
// these headers, and those that gunicorn takes for the path (forwarder_headers). Proxies that drop or refuse all names
// with underscores don't need them.
func Aliases() []string {
	aliases := []string{"script_name", "path_info"}
	for _, name := range Names() {
		aliases = append(aliases, Spellings(name)...)
	}
	return aliases
}

// Spellings returns every way to write some of a name's hyphens as underscores, without the name itself. Many
// applications read an underscore as a hyphen (CGI, RFC 3875, section 4.1.18).
func Spellings(name string) []string {
	all := []string{""}
	for _, c := range name {
		with := make([]string, 0, 2*len(all))
		for _, spelling := range all {
			with = append(with, spelling+string(c))
			if c == '-' {
				with = append(with, spelling+"_")
			}
		}
		all = with
	}
	return all[1:] // The first is the one with every hyphen kept.
}
