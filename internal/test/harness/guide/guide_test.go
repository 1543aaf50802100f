package guide

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
)

func somewhere() Places {
	return Places{
		Proxy: "127.0.0.1:8000", Backend: "127.0.0.1:8082", Verifier: "127.0.0.1:8081", VerifierGRPC: "127.0.0.1:8083",
		Loopback: "127.0.0.1:8084", Authority: "/tmp/ca.crt", Guides: filepath.Join(controlplane.Root(), "docs", "guides"),
	}
}

// TestOnlyAddressesDiffer checks that each proxy's configuration differs from its guide's only in addresses and paths.
func TestOnlyAddressesDiffer(t *testing.T) {
	at := somewhere()
	for name, p := range Proxies {
		if p.Objects {
			continue
		}
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(filepath.Join(at.Guides, filepath.FromSlash(p.files[0])))
			if err != nil {
				t.Fatal(err)
			}
			guide := strings.Split(string(content), "\n")
			text, err := at.moved(string(content))
			if err != nil {
				t.Fatal(err)
			}
			config := strings.Split(text, "\n")
			if len(config) != len(guide) {
				t.Fatalf("%d lines, the guide's has %d", len(config), len(guide))
			}
			for i, line := range config {
				if line != guide[i] && !strings.Contains(line, ":8000") && !strings.Contains(line, "127.0.0.1") &&
					!strings.Contains(line, "/tmp/ca.crt") && !strings.Contains(line, at.Guides) {
					t.Errorf("%q instead of %q", line, guide[i])
				}
			}
			for _, left := range []string{":80;", ":80 ", " 80;", ":8080", "9090", "0.0.0.0", "warehouse.svc", "/etc/"} {
				for _, line := range config {
					if strings.Contains(line, left) && !strings.HasPrefix(strings.TrimSpace(line), "#") {
						t.Errorf("%q still has %q", line, left)
					}
				}
			}
			if _, err := at.moved(strings.ReplaceAll(string(content), "api.warehouse", "elsewhere")); err == nil {
				t.Error("a guide with other addresses is taken")
			}
		})
	}
}

// TestTraefikRoutes checks that what Traefik reads from files is what the guide's objects say.
func TestTraefikRoutes(t *testing.T) {
	at := somewhere()
	objects, err := os.ReadFile(filepath.Join(at.Guides, "traefik", "apikey.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	routes, err := traefikRoutes(string(objects), at)
	if err != nil {
		t.Fatal(err)
	}
	auth, err := mapping(routes, "http", "middlewares", "apikey", "forwardAuth")
	if err != nil {
		t.Fatal(err)
	}
	if tls, err := mapping(auth, "tls"); err != nil || tls["ca"] != at.Authority || len(tls) != 1 {
		t.Errorf("tls %v, %v", tls, err)
	}
	if auth["trustForwardHeader"] != false || len(auth["authResponseHeaders"].([]any)) < 20 ||
		auth["address"] != "https://"+VerifierName+":8080/auth/forward" {
		t.Errorf("not the guide's middleware: %v", auth)
	}
	router, err := mapping(routes, "http", "routers", "api")
	if err != nil {
		t.Fatal(err)
	}
	if router["rule"] != "Host(`"+Host+"`) && PathPrefix(`/api`)" {
		t.Errorf("rule %v", router["rule"])
	}
	if _, err := traefikRoutes(strings.Replace(string(objects), "caSecret", "insecureSkipVerify", 1), at); err == nil {
		t.Error("a guide that checks no certificate is taken")
	}
}

func TestNamed(t *testing.T) {
	const all = "caddy, envoy, haproxy, nginx, traefik"
	if _, err := Named("apache"); err == nil || !strings.Contains(err.Error(), all) {
		t.Errorf("an unknown Proxy: %v", err)
	}
	for name := range Proxies {
		if _, err := Named(name); err != nil {
			t.Error(err)
		}
	}
}
