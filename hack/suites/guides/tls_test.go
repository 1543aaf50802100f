package guides_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// checks has, for each guide's folder, the files by which the proxy checks the verifier's certificate: authority and
// its name. Each maps to the settings that it needs for that.
var checks = map[string]map[string][]string{
	"apisix": {
		"route.yaml":  {"uri: https://", "ssl_verify: true"},
		"config.yaml": {"ssl_trusted_certificate: /usr/local/apisix/conf/apikey-ca.crt"},
	},
	"caddy": {"Caddyfile": {
		"forward_auth https://", "tls_trust_pool file /etc/caddy/apikey-ca.crt",
		"tls_server_name apikey-verifier.apikey-system.svc.cluster.local",
	}},
	"contour": {"apikey.yaml": {
		"protocol: h2\n", "caSecret: apikey-ca", "subjectName: apikey-verifier.apikey-system.svc",
	}},
	"envoy":         {"grpc.yaml": envoyChecks, "http.yaml": envoyChecks},
	"envoy-gateway": {"../gateway-api/backendtlspolicy.yaml": backendTLSPolicy},
	"gateway-api":   {"backendtlspolicy.yaml": backendTLSPolicy},
	"haproxy": {"haproxy.cfg": {
		"ssl verify required ca-file /etc/haproxy/apikey-ca.crt", "verifyhost apikey-verifier.apikey-system.svc",
	}},
	"haproxy-ingress": {
		"haproxy.cfg": {
			"ssl verify required ca-file /etc/haproxy/apikey-ca.crt", "verifyhost apikey-verifier.apikey-system.svc",
		},
		"../haproxy-ingress.md": {
			"secure-backends=true", "secure-verify-ca-secret=apikey-ca",
			"secure-verify-hostname=apikey-verifier.apikey-system.svc",
		},
	},
	"istio": {"destinationrule.yaml": {
		"mode: SIMPLE", "credentialName: apikey-ca", "subjectAltNames: [apikey-verifier.apikey-system.svc",
	}},
	"nginx": {"nginx.conf": {
		"proxy_ssl_verify              on;", "proxy_ssl_trusted_certificate /etc/nginx/apikey-ca.crt;",
		"proxy_ssl_name                apikey-verifier.apikey-system.svc.cluster.local;",
	}},
	"nginx-gateway-fabric": {"../gateway-api/backendtlspolicy.yaml": backendTLSPolicy},
	"traefik":              {"apikey.yaml": {"address: https://", "caSecret: apikey-ca"}},
}

var (
	envoyChecks = []string{
		"UpstreamTlsContext", "trusted_ca: {filename: /etc/envoy/apikey-ca.crt}",
		"match_typed_subject_alt_names:\n            - san_type: DNS\n              matcher: {exact: apikey-verifier.",
	}
	backendTLSPolicy = []string{"name: apikey-ca ", "hostname: apikey-verifier.apikey-system.svc"}
)

// cannot has the guides whose proxy has no way to check.
var cannot = map[string]bool{"ingress-nginx": true}

var plainly = regexp.MustCompile(`http://apikey-verifier\.apikey-system|protocol: h2c`)

// TestTheyCheckWhoAnswers checks that each guide makes its proxy use TLS and check the certificate, or says in a box
// that it can't.
func TestTheyCheckWhoAnswers(t *testing.T) {
	folders, err := os.ReadDir(guide())
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		name := folder.Name()
		if !folder.IsDir() {
			continue
		}
		page := read(t, guide(name+".md"))
		switch wanted := checks[name]; {
		case cannot[name]:
			if !strings.Contains(page, "\n> [!WARNING]\n> **") || !strings.Contains(page, "can't check who answers") {
				t.Errorf("%s.md has no box that says that it can't check who answers", name)
			}
		case len(wanted) == 0:
			t.Errorf("%s: by what does the proxy check who answers?", name)
		default:
			for file, parts := range wanted {
				text := read(t, guide(name, filepath.FromSlash(file)))
				for _, part := range parts {
					if !strings.Contains(text, part) {
						t.Errorf("%s: %s lacks %q", name, file, part)
					}
				}
			}
		}
		files, err := filepath.Glob(guide(name, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range append(files, guide(name+".md")) {
			if found := plainly.FindString(read(t, file)); found != "" {
				t.Errorf("%s asks in plain text: %s", file, found)
			}
		}
	}
}
