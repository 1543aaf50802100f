package proxies

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Site is a part of the API with hosts and an upstream of its own. Every proxy serves all sites, so that a request
// which the proxy sends to one upstream, but describes to the verifier with another host, reaches the wrong upstream.
type Site struct {
	// Name is also the name of its upstream in a proxy's configuration.
	Name string
	// Hosts are the hosts that it serves. A wildcard stands for hosts that no other site names.
	Hosts []string
}

// Sites are all sites.
var Sites = []Site{
	{Name: "admin", Hosts: []string{"admin.example.com", "vip.shop.example.com"}},
	{Name: "open", Hosts: []string{"open.example.com"}},
	{Name: "api", Hosts: []string{"api.example.com", "*.shop.example.com"}},
}

// Serves reports whether the site serves a host.
func (s *Site) Serves(host string) bool {
	for i := range Sites {
		if slices.Contains(Sites[i].Hosts, host) {
			return Sites[i].Name == s.Name
		}
	}
	return slices.ContainsFunc(s.Hosts,
		func(h string) bool { return strings.HasPrefix(h, "*") && strings.HasSuffix(host, h[1:]) })
}

// GuideHost and guideUpstream are the host and the upstream in the guides' files.
const (
	GuideHost     = "your-nexuscommerce.com"
	guideUpstream = "api.warehouse.svc.cluster.local:80"
)

// serveSites turns a guide's configuration for one host into one for all sites. The pattern matches the parts that each
// site has of its own; name turns such a part's name for the upstream into another site's.
func serveSites(t testing.TB, text, pattern string, up *Upstream, name func(part string, s Site) string) string {
	t.Helper()
	parts := regexp.MustCompile(pattern)
	if !strings.Contains(strings.Join(parts.FindAllString(text, -1), ""), GuideHost) {
		t.Fatalf("nothing of the configuration for %s is found by %q", GuideHost, pattern)
	}
	return parts.ReplaceAllStringFunc(text, func(part string) string {
		var all strings.Builder
		for _, s := range Sites {
			all.WriteString(name(strings.ReplaceAll(part, guideUpstream, up.Addresses[s.Name]), s))
		}
		return all.String()
	})
}

// nginxSites returns a configuration with an upstream and a server for each site.
func nginxSites(t testing.TB, text string, up *Upstream) string {
	t.Helper()
	return serveSites(t, text, `(?sm)^(upstream api|server) \{\n(\tlisten 80;\n|[^\n]*svc\.cluster\.local:80;).*?\n\}\n`,
		up, func(part string, s Site) string {
			return strings.NewReplacer("upstream api ", "upstream "+s.Name+" ", "http://api;", "http://"+s.Name+";",
				"http://api$", "http://"+s.Name+"$", "grpc://api;", "grpc://"+s.Name+";",
				GuideHost, strings.Join(s.Hosts, " ")).Replace(part)
		})
}

// caddySites returns a configuration with a block for each site.
func caddySites(t testing.TB, text string, up *Upstream) string {
	t.Helper()
	text = strings.Replace(text, "http:// {", "http://:80 {", 1) // Or it would want port 80 itself, which is root's.
	return serveSites(t, text, `(?sm)^http://`+regexp.QuoteMeta(GuideHost)+` \{\n.*?\n\}\n`, up,
		func(part string, s Site) string {
			return strings.ReplaceAll(part, "http://"+GuideHost+" ", "http://"+strings.Join(s.Hosts, ":80, http://")+":80 ")
		})
}

// haproxySites returns a configuration with an acl, a use_backend and a backend for each site.
func haproxySites(t testing.TB, text string, up *Upstream) string {
	t.Helper()
	return strings.ReplaceAll(withSites(t, text, up, true), " unless api\n", " unless api or admin or open\n")
}

// haproxyIngressSites is haproxySites without wildcards: an Ingress is for the hosts that it names, and what it says
// applies to no other host.
func haproxyIngressSites(t testing.TB, text string, up *Upstream) string {
	t.Helper()
	return withSites(t, text, up, false)
}

func withSites(t testing.TB, text string, up *Upstream, wildcards bool) string {
	t.Helper()
	return serveSites(t, text, `(?m)^\t(acl|use_backend) api .*\n|^backend api\n.*\n\n`, up,
		func(part string, s Site) string {
			rule, isACL := strings.CutPrefix(part, "\tacl api ")
			if !isACL {
				return regexp.MustCompile(`\bapi\b`).ReplaceAllStringFunc(part, func(string) string { return s.Name })
			}
			for _, host := range s.Hosts {
				if suffix, wildcard := strings.CutPrefix(host, "*"); wildcard && !wildcards {
					continue
				} else if wildcard {
					part += fmt.Sprintf("\tacl %s %s", s.Name, strings.ReplaceAll(rule, GuideHost, "-m end "+suffix))
				} else {
					part += fmt.Sprintf("\tacl %s %s", s.Name, strings.ReplaceAll(rule, GuideHost, host))
				}
			}
			return strings.TrimPrefix(part, "\tacl api "+rule)
		})
}
