package proxies

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

func readGuide(t testing.TB, elements ...string) string {
	t.Helper()
	return readText(t, append([]string{controlplane.Root(), "docs", "guides"}, elements...)...)
}

func readText(t testing.TB, elements ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// unmarshalGuide reads the first object of a guide's file.
func unmarshalGuide(t testing.TB, object any, elements ...string) {
	t.Helper()
	first, _, _ := strings.Cut(readGuide(t, elements...), "\n---\n")
	if err := yaml.Unmarshal([]byte(first), object); err != nil {
		t.Fatal(err)
	}
}

// fill puts what a guide's objects say into what a controller makes of them.
func fill(t testing.TB, name, httpSnippet, serverSnippet string, responseHeaders []string) string {
	t.Helper()
	text := readText(t, controlplane.Root(), "internal", "test", "harness", "proxies", "testdata", name)
	var headers strings.Builder
	for _, header := range responseHeaders {
		variable := strings.ToLower(strings.ReplaceAll(header, "-", "_"))
		headers.WriteString("auth_request_set $auth_" + variable + " $upstream_http_" + variable + ";\n\t\t" +
			"proxy_set_header " + header + " $auth_" + variable + ";\n\t\t")
	}
	comment, rest, _ := strings.Cut(text, "\n\n")
	return comment + "\n\n" + strings.NewReplacer(
		"HTTP_SNIPPET", httpSnippet,
		"SERVER_SNIPPET", strings.ReplaceAll(strings.TrimSpace(serverSnippet), "\n", "\n\t"),
		"RESPONSE_HEADERS", headers.String(),
	).Replace(rest)
}

// ingressNginx returns what ingress-nginx makes of its guide's Ingress and ConfigMap.
func ingressNginx(t testing.TB) string {
	t.Helper()
	var ingress struct {
		Metadata struct{ Annotations map[string]string }
	}
	unmarshalGuide(t, &ingress, "ingress-nginx", "ingress.yaml")
	var settings struct{ Data map[string]string }
	unmarshalGuide(t, &settings, "ingress-nginx", "configmap.yaml")
	headers := strings.Split(ingress.Metadata.Annotations["nginx.ingress.kubernetes.io/auth-response-headers"], ",")
	for i := range headers {
		headers[i] = strings.TrimSpace(headers[i])
	}
	const bufferSize = "nginx.ingress.kubernetes.io/proxy-buffer-size"
	return strings.ReplaceAll(
		fill(t, "ingress-nginx.conf", settings.Data["http-snippet"], settings.Data["server-snippet"], headers),
		"BUFFER_SIZE", cmp.Or(ingress.Metadata.Annotations[bufferSize], "4k"))
}

// nginxGatewayFabric returns what NGINX Gateway Fabric makes of its guide's HTTPRoute and SnippetsPolicy.
func nginxGatewayFabric(t testing.TB) string {
	t.Helper()
	var route struct {
		Spec struct {
			Rules []struct {
				Filters []struct {
					ExternalAuth struct {
						HTTP struct{ AllowedResponseHeaders []string }
					}
				}
			}
		}
	}
	unmarshalGuide(t, &route, "nginx-gateway-fabric", "httproute.yaml")
	var policy struct {
		Spec struct {
			Snippets []struct{ Context, Value string }
		}
	}
	unmarshalGuide(t, &policy, "nginx-gateway-fabric", "snippetspolicy.yaml")
	snippets := map[string]string{}
	for _, snippet := range policy.Spec.Snippets {
		snippets[snippet.Context] = snippet.Value
	}
	return fill(t, "nginx-gateway-fabric.conf", snippets["http"], snippets["http.server"],
		route.Spec.Rules[0].Filters[0].ExternalAuth.HTTP.AllowedResponseHeaders)
}
