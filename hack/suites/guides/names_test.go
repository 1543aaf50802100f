package guides_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// haproxyIngressKeys has the configuration keys that haproxy-ingress 0.16 accepts as annotations
// (docs/content/en/docs/configuration/keys.md of jcmoraisjr/haproxy-ingress, which is not available as a module).
var haproxyIngressKeys = []string{
	"auth-external-placement", "auth-headers-fail", "auth-headers-request", "auth-headers-succeed", "auth-method",
	"auth-url",
	"config-backend", "config-backend-early", "config-backend-late",
}

// forwardAuthAttributes has the attributes of APISIX's plugin forward-auth (the schema in
// apisix/plugins/forward-auth.lua of 3.20; that is Lua, and does not refuse unknown attributes).
var forwardAuthAttributes = []string{
	"allow_degradation", "client_headers", "extra_headers", "keepalive", "keepalive_pool", "keepalive_timeout",
	"max_req_body_size", "request_headers", "request_method", "ssl_verify", "status_on_error", "timeout",
	"upstream_headers", "uri",
}

// annotations returns the annotations of a guide's Ingress by name, without the prefix that all of them must have.
func annotations(t *testing.T, prefix string, path ...string) map[string]string {
	t.Helper()
	var ingress struct {
		Metadata struct{ Annotations map[string]string }
	}
	if err := yaml.Unmarshal([]byte(read(t, guide(path...))), &ingress); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for name, value := range ingress.Metadata.Annotations {
		name, ok := strings.CutPrefix(name, prefix)
		if !ok {
			t.Errorf("the annotation %s begins with another prefix than %s", name, prefix)
		}
		all[name] = value
	}
	if len(all) == 0 {
		t.Errorf("no annotation begins with %s", prefix)
	}
	return all
}

func TestIngressNginxAnnotations(t *testing.T) {
	for name := range annotations(t, "nginx.ingress.kubernetes.io/", "ingress-nginx", "ingress.yaml") {
		if !ingressNginx.mentions(t, "internal/ingress/annotations", ".go", `= "`+name+`"`) {
			t.Errorf("ingress-nginx knows no annotation %s", name)
		}
	}
}

func TestHAProxyIngressAnnotations(t *testing.T) {
	for name := range annotations(t, "haproxy-ingress.github.io/", "haproxy-ingress", "ingress.yaml") {
		if !slices.Contains(haproxyIngressKeys, name) {
			t.Errorf("haproxy-ingress knows no annotation %s", name)
		}
	}
}

func TestForwardAuthAttributes(t *testing.T) {
	var route struct {
		Spec struct {
			HTTP []struct {
				Plugins []struct {
					Name   string
					Config map[string]any
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, guide("apisix", "route.yaml"))), &route); err != nil {
		t.Fatal(err)
	}
	plugin := route.Spec.HTTP[0].Plugins[0]
	if plugin.Name != "forward-auth" || len(plugin.Config) < 5 {
		t.Fatalf("%s has %d attributes", plugin.Name, len(plugin.Config))
	}
	for name := range plugin.Config {
		if !slices.Contains(forwardAuthAttributes, name) {
			t.Errorf("forward-auth knows no attribute %s", name)
		}
	}
}

// TestTraefikStatic checks that Traefik knows the option that is in no CustomResourceDefinition.
func TestTraefikStatic(t *testing.T) {
	const option = "aliasHeadersStrategy"
	if !strings.Contains(read(t, guide("traefik", "static.yaml")), option+": delete\n") {
		t.Errorf("no %s", option)
	}
	if !traefik.mentions(t, "pkg/config/static", ".go", `yaml:"`+option) {
		t.Errorf("Traefik knows no %s", option)
	}
}

var failsOpen = regexp.MustCompile(
	`(?i)(fail_?open|failure_mode_allow|allow_degradation|failure_mode_allow_header_add)"?:\s*"?true`)

// TestTheyFailClosed checks what every configuration must have, whatever the proxy: no way around the verifier while it
// is down, and all four identity headers if the proxy must name the headers to copy. Over gRPC the verifier names them.
func TestTheyFailClosed(t *testing.T) {
	files, err := filepath.Glob(guide("*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	copies := 0
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := string(content)
		if found := failsOpen.FindString(text); found != "" {
			t.Errorf("%s fails open: %s", file, found)
		}
		// A generated configuration shows what its proxy does, not what it should do.
		if !strings.Contains(text, "/auth/") && !strings.Contains(text, "/ext-authz") ||
			strings.HasSuffix(file, "haproxy.cfg") {
			continue
		}
		copies++
		for _, header := range []string{"x-api-key-id", "x-api-key-name", "x-api-key-scopes", "x-api-key-tenant"} {
			if !strings.Contains(strings.ToLower(text), header) {
				t.Errorf("%s leaves a client's %s alone", file, header)
			}
		}
	}
	if copies < 6 {
		t.Errorf("only %d configurations copy headers", copies)
	}
}
