package bypass_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// site is a part of the API with hosts and an upstream of its own. Every proxy has all of them, so that a request which
// a proxy gives to one upstream, and of which the verifier is told another host, reaches an upstream that it must not
// reach.
type site struct {
	// name is also that of its upstream in a proxy's configuration.
	name string
	// hosts are those that it is for. A wildcard is for what no other site names.
	hosts []string
}

var sites = []site{
	{name: "admin", hosts: []string{"admin.example.com", "vip.shop.example.com"}},
	{name: "open", hosts: []string{"open.example.com"}},
	{name: "api", hosts: []string{"api.example.com", "*.shop.example.com"}},
}

// serves reports whether a host is one of the site's.
func (s *site) serves(host string) bool {
	for i := range sites {
		if slices.Contains(sites[i].hosts, host) {
			return sites[i].name == s.name
		}
	}
	return slices.ContainsFunc(s.hosts,
		func(h string) bool { return strings.HasPrefix(h, "*") && strings.HasSuffix(host, h[1:]) })
}

// guideHost and guideUpstream are what the guides' files have for one site.
const (
	guideHost     = "your-nexuscommerce.com"
	guideUpstream = "api.warehouse.svc.cluster.local:80"
)

// serveSites turns the configuration of a guide, which is for one host, into one for all sites. The pattern finds the
// parts of it that each site has of its own; name turns a part's own name for the upstream into another site's.
func serveSites(t *testing.T, text, pattern string, up *upstream, name func(part string, s site) string) string {
	t.Helper()
	parts := regexp.MustCompile(pattern)
	if !strings.Contains(strings.Join(parts.FindAllString(text, -1), ""), guideHost) {
		t.Fatalf("nothing of the configuration for %s is found by %q", guideHost, pattern)
	}
	return parts.ReplaceAllStringFunc(text, func(part string) string {
		all := ""
		for _, s := range sites {
			all += name(strings.ReplaceAll(part, guideUpstream, up.addresses[s.name]), s)
		}
		return all
	})
}

// nginxSites has one upstream and one server a site.
func nginxSites(t *testing.T, text string, up *upstream) string {
	t.Helper()
	return serveSites(t, text, `(?sm)^(upstream api|server) \{\n(\tlisten 80;\n|[^\n]*svc\.cluster\.local:80;).*?\n\}\n`,
		up, func(part string, s site) string {
			return strings.NewReplacer("upstream api ", "upstream "+s.name+" ", "http://api;", "http://"+s.name+";",
				"http://api$", "http://"+s.name+"$", guideHost, strings.Join(s.hosts, " ")).Replace(part)
		})
}

// caddySites has one block a site.
func caddySites(t *testing.T, text string, up *upstream) string {
	t.Helper()
	text = strings.Replace(text, "http:// {", "http://:80 {", 1) // Or it would want port 80 itself, which is root's.
	return serveSites(t, text, `(?sm)^http://`+regexp.QuoteMeta(guideHost)+` \{\n.*?\n\}\n`, up,
		func(part string, s site) string {
			return strings.ReplaceAll(part, "http://"+guideHost+" ", "http://"+strings.Join(s.hosts, ":80, http://")+":80 ")
		})
}

// haproxySites has one acl, one use_backend and one backend a site.
func haproxySites(t *testing.T, text string, up *upstream) string {
	t.Helper()
	return strings.ReplaceAll(withSites(t, text, up, true), " unless api\n", " unless api or admin or open\n")
}

// haproxyIngressSites has them too, but an Ingress for the API's own host alone: what is said of it holds for no other
// host.
func haproxyIngressSites(t *testing.T, text string, up *upstream) string {
	t.Helper()
	return withSites(t, text, up, false)
}

func withSites(t *testing.T, text string, up *upstream, wildcards bool) string {
	t.Helper()
	return serveSites(t, text, `(?m)^\t(acl|use_backend) api .*\n|^backend api\n.*\n\n`, up,
		func(part string, s site) string {
			rule, isACL := strings.CutPrefix(part, "\tacl api ")
			if !isACL {
				return regexp.MustCompile(`\bapi\b`).ReplaceAllStringFunc(part, func(string) string { return s.name })
			}
			for _, host := range s.hosts {
				if suffix, wildcard := strings.CutPrefix(host, "*"); wildcard && !wildcards {
					continue
				} else if wildcard {
					part += fmt.Sprintf("\tacl %s %s", s.name, strings.ReplaceAll(rule, guideHost, "-m end "+suffix))
				} else {
					part += fmt.Sprintf("\tacl %s %s", s.name, strings.ReplaceAll(rule, guideHost, host))
				}
			}
			return strings.TrimPrefix(part, "\tacl api "+rule)
		})
}
