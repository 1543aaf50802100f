package guides_test

import (
	"slices"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestAPISIXHasOneHost checks that the verifier and the upstream get the host by which APISIX chooses the route. A
// client can name two: one on the request line, which becomes $host, and another in Host, which is $http_host. No test
// runs APISIX.
func TestAPISIXHasOneHost(t *testing.T) {
	var route struct {
		Spec struct {
			HTTP []struct {
				Match   struct{ Hosts []string }
				Plugins []struct {
					Name   string
					Enable bool
					Config struct {
						Host         string
						ExtraHeaders map[string]string `json:"extra_headers"`
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, guide("apisix", "route.yaml"))), &route); err != nil {
		t.Fatal(err)
	}
	for _, rule := range route.Spec.HTTP {
		var upstreamHost string
		var upstream []string
		for _, plugin := range rule.Plugins {
			switch {
			case plugin.Name == "forward-auth" && plugin.Enable:
				upstreamHost = plugin.Config.ExtraHeaders["X-Forwarded-Host"]
			case plugin.Name == "proxy-rewrite" && plugin.Enable:
				upstream = append(upstream, plugin.Config.Host)
			}
		}
		if upstreamHost != "$host" {
			t.Errorf("the verifier is told %q, and the route is chosen by $host", upstreamHost)
		}
		if len(rule.Match.Hosts) != 1 || !slices.Equal(upstream, rule.Match.Hosts) {
			t.Errorf("the route is for %q, and its upstream is told %q", rule.Match.Hosts, upstream)
		}
	}
	if len(route.Spec.HTTP) == 0 {
		t.Error("no route")
	}
}
