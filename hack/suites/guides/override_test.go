package guides_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/override"
)

// removers find, in a guide's file, the headers that it removes from a client's request or replaces. A name that ends
// in * stands for all names with that beginning.
var removers = map[string]func(t *testing.T, text string) []string{
	"nginx/nginx.conf": func(t *testing.T, text string) []string {
		_, location, _ := strings.Cut(text, "\tlocation / {\n")
		location, _, found := strings.Cut(location, "\n\t}\n")
		if !found {
			t.Error("no location /")
		}
		return submatches(location, `(?m)^\t\tproxy_set_header (\S+) +\S+;$`)
	},
	"caddy/Caddyfile": func(t *testing.T, text string) []string {
		_, upstream, found := strings.Cut(text, "\treverse_proxy ")
		if !found {
			t.Error("no reverse_proxy")
		}
		return submatches(upstream, `(?m)^\t\theader_up -?(\S+)`)
	},
	"haproxy/haproxy.cfg":         afterTheQuestion,
	"haproxy-ingress/haproxy.cfg": afterTheQuestion,
	"haproxy-ingress/ingress.yaml": func(t *testing.T, _ string) []string {
		return haproxyRemoves(annotations(t, "haproxy-ingress.github.io/", "haproxy-ingress",
			"ingress.yaml")["config-backend-late"])
	},
	"ingress-nginx/ingress.yaml": func(t *testing.T, _ string) []string {
		return strings.Split(annotations(t, "nginx.ingress.kubernetes.io/", "ingress-nginx",
			"ingress.yaml")["auth-response-headers"], ", ")
	},
	"traefik/apikey.yaml":                 list("authResponseHeaders"),
	"apisix/route.yaml":                   list("upstream_headers"),
	"nginx-gateway-fabric/httproute.yaml": list("allowedResponseHeaders"),
}

// byVerifier has the files of proxies that speak Envoy's protocol: the verifier names the headers with each allowed
// request. Each maps to what the file needs for that.
var byVerifier = map[string]string{
	"envoy/grpc.yaml":            "envoy_grpc: {cluster_name: apikey-verifier}",
	"envoy/http.yaml":            "path_prefix: /ext-authz",
	"envoy-gateway/apikey.yaml":  "    grpc:\n",
	"contour/apikey.yaml":        "kind: ExtensionService",
	"istio/meshconfig.yaml":      "envoyExtAuthzGrpc:",
	"istio/meshconfig-http.yaml": "pathPrefix: /ext-authz",
	"gateway-api/httproute.yaml": "protocol: GRPC",
}

// servingNothing has the files through which no request passes, and why.
var servingNothing = map[string]string{
	"apisix/config.yaml":                       "beside route.yaml",
	"contour/contour.yaml":                     "beside apikey.yaml",
	"envoy-gateway/gateway.yaml":               "beside apikey.yaml",
	"gateway-api/backendtlspolicy.yaml":        "TLS to the verifier",
	"haproxy/apikey.lua":                       "called by haproxy.cfg",
	"ingress-nginx/configmap.yaml":             "beside ingress.yaml",
	"nginx-gateway-fabric/snippetspolicy.yaml": "beside httproute.yaml",
	"istio/destinationrule.yaml":               "TLS to the verifier",
	"istio/apikey.yaml":                        "names the provider in meshconfig.yaml",
	"traefik/static.yaml":                      "beside apikey.yaml",
}

// TestOverrideHeaders checks that no guide's configuration lets a header through that overrides the request.
func TestOverrideHeaders(t *testing.T) {
	files, err := filepath.Glob(guide("*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name, err := filepath.Rel(guide(), file)
		if err != nil {
			t.Fatal(err)
		}
		text := read(t, file)
		switch find, wanted, why := removers[name], byVerifier[name], servingNothing[name]; {
		case find != nil:
			removed := find(t, text)
			for _, h := range override.Headers {
				if !covers(removed, h.Name) {
					t.Errorf("%s lets a client's %s through, by which it can have %s read another %s", name, h.Name, h.ReadBy, h.Part)
				}
			}
		case wanted != "":
			if !strings.Contains(text, wanted) {
				t.Errorf("%s has no %q: does it still ask by Envoy's protocol?", name, wanted)
			}
		case why == "":
			t.Errorf("%s: by what does it take away the headers that override the request?", name)
		}
	}
	page := read(t, guide("README.md"))
	for _, h := range override.Headers {
		if row := "\n| `" + h.Name + "` | " + string(h.Part) + " | " + h.ReadBy + " |\n"; !strings.Contains(page, row) {
			t.Errorf("README.md has no row %q", row)
		}
	}
	for name := range removers {
		if _, err := os.Stat(guide(filepath.FromSlash(name))); err != nil {
			t.Error(err)
		}
	}
}

// covers reports whether a header is removed.
func covers(removed []string, header string) bool {
	return slices.ContainsFunc(removed, func(name string) bool {
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			return len(header) >= len(prefix) && strings.EqualFold(header[:len(prefix)], prefix)
		}
		return strings.EqualFold(name, header)
	})
}

func submatches(text, pattern string) (all []string) {
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// afterTheQuestion returns what HAProxy removes after it has asked the verifier, and the client's headers that it has
// replaced before.
func afterTheQuestion(t *testing.T, text string) []string {
	t.Helper()
	before, after, found := strings.Cut(text, "lua.apikey apikey-verifier")
	if !found {
		t.Error("nothing is asked")
	}
	return slices.Concat(submatches(before, `(?m)^\thttp-request set-header (\S+)`), haproxyRemoves(after))
}

func haproxyRemoves(text string) []string {
	var all []string
	for _, name := range submatches(text, `(?m)^\s*http-request (?:del|set)-header (\S+(?: -m beg)?)`) {
		all = append(all, strings.ReplaceAll(name, " -m beg", "*"))
	}
	return all
}

// list returns the elements of a list, wherever it is in a file of objects.
func list(key string) func(t *testing.T, text string) []string {
	return func(t *testing.T, text string) (all []string) {
		t.Helper()
		for document := range strings.SplitSeq(text, "\n---\n") {
			var object any
			if err := yaml.Unmarshal([]byte(document), &object); err != nil {
				t.Fatal(err)
			}
			all = append(all, elements(object, key)...)
		}
		return all
	}
}

func elements(node any, key string) (all []string) {
	switch node := node.(type) {
	case map[string]any:
		for k, v := range node {
			items, isList := v.([]any)
			if k != key || !isList {
				all = append(all, elements(v, key)...)
				continue
			}
			for _, item := range items {
				text, _ := item.(string)
				all = append(all, text)
			}
		}
	case []any:
		for _, v := range node {
			all = append(all, elements(v, key)...)
		}
	}
	return all
}
