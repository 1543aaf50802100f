package main

import (
	"crypto/sha1" // The cheapest hash that Traefik's basicAuth takes.
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/guide"
)

// node is a mapping of a YAML document.
type node = map[string]any

var nginxFront = front{
	name: "nginx", program: "nginx", plain: plainNginx, without: nginxAlone, builtin: nginxMap, builtinName: "its map",
}

// fronts are the proxies that are measured.
var fronts = []front{
	nginxFront,
	{name: "Envoy over gRPC", program: "envoy", plain: plainEnvoy, without: envoyAlone, builtin: envoyKeys,
		builtinName: "its api_key_auth"},
	{name: "Envoy over HTTP", program: "envoy", file: "envoy/http.yaml", plain: plainEnvoy, without: envoyAlone,
		builtin: envoyKeys, builtinName: "its api_key_auth"},
	{name: "Traefik", program: "traefik", plain: plainTraefik, without: traefikAlone, builtin: traefikUsers,
		builtinName: "its basicAuth, with SHA-1", scheme: "Basic", credential: asUser},
	{name: "Caddy", program: "caddy", plain: plainCaddy, without: caddyAlone},
	{name: "HAProxy", program: "haproxy", plain: plainHAProxy, without: haproxyAlone},
}

func plainNginx(text string, at guide.Places) (string, error) {
	return replaced(text, "https://apikey-verifier/", "http://apikey-verifier/",
		"proxy_ssl_trusted_certificate "+at.Authority+";", "")
}

// nginxAlone removes the question, and the headers that come from its answer. What is not indented begins a block.
func nginxAlone(text string) (string, error) {
	return removed(text, `(?m)^[ \t].*(auth_request|\$apikey_).*\n`)
}

func nginxMap(text string, keys []subject) (string, error) {
	text, err := nginxAlone(text)
	if err != nil {
		return "", err
	}
	var known strings.Builder
	known.WriteString("map_hash_max_size 8192;\nmap_hash_bucket_size 256;\n" +
		"map $http_authorization $known {\n\tdefault \"\";\n")
	for _, key := range keys {
		fmt.Fprintf(&known, "\t\"Bearer %s\" %q;\n", key.token, key.name.Name)
	}
	const location = "\tlocation / {\n"
	text, err = replaced(text, location, location+"\t\tif ($known = \"\") { return 401; }\n")
	return known.String() + "}\n" + text, err
}

func plainCaddy(text string, _ guide.Places) (string, error) {
	text, err := removed(text, `(?s)\t\ttransport http \{.*?\n\t\t\}\n`)
	if err != nil {
		return "", err
	}
	return replaced(text, "forward_auth https://", "forward_auth http://")
}

func caddyAlone(text string) (string, error) { return removed(text, `(?s)\tforward_auth .*?\n\t\}\n`) }

func plainHAProxy(text string, _ guide.Places) (string, error) {
	return removed(text, `(?m) check inter 1s .* ssl verify .*$`)
}

func haproxyAlone(text string) (string, error) { return removed(text, `(?m)^.*lua\.apikey.*\n`) }

// removed removes what a pattern matches, which must be there.
func removed(text, pattern string) (string, error) {
	expression := regexp.MustCompile(pattern)
	if !expression.MatchString(text) {
		return "", fmt.Errorf("the guide's configuration has nothing like %s", pattern)
	}
	return expression.ReplaceAllString(text, ""), nil
}

func plainEnvoy(text string, _ guide.Places) (string, error) {
	return edited(text, func(config node) error {
		clusters, _ := dig(config, "static_resources", "clusters").([]any)
		found := false
		for _, item := range clusters {
			cluster, _ := item.(node)
			if strings.HasPrefix(fmt.Sprint(cluster["name"]), "apikey-verifier") {
				found = cluster["transport_socket"] != nil
				delete(cluster, "transport_socket")
			}
		}
		if !found {
			return errors.New("the guide's Envoy has no verifier over TLS")
		}
		return nil
	})
}

func envoyAlone(text string) (string, error) {
	return edited(text, func(config node) error { return authorizing(config) })
}

func envoyKeys(text string, keys []subject) (string, error) {
	return edited(text, func(config node) error {
		credentials := make([]any, len(keys))
		for i, key := range keys {
			credentials[i] = node{"key": key.token, "client": key.name.Name}
		}
		return authorizing(config, node{
			"name": "envoy.filters.http.api_key_auth",
			"typed_config": node{
				"@type":       "type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
				"credentials": credentials, "key_sources": []any{node{"header": "Authorization"}},
			},
		})
	})
}

// authorizing replaces the filter that asks the verifier.
func authorizing(config node, by ...any) error {
	manager, _ := dig(config, "static_resources", "listeners", 0, "filter_chains", 0, "filters", 0, "typed_config").(node)
	filters, _ := manager["http_filters"].([]any)
	i := slices.IndexFunc(filters, func(f any) bool { return dig(f, "name") == "envoy.filters.http.ext_authz" })
	if i < 0 {
		return errors.New("the guide's Envoy has no ext_authz")
	}
	manager["http_filters"] = slices.Replace(filters, i, i+1, by...)
	return nil
}

func plainTraefik(text string, at guide.Places) (string, error) {
	return edited(text, func(config node) error {
		auth, _ := dig(config, "http", "middlewares", "apikey", "forwardAuth").(node)
		if auth["tls"] == nil {
			return errors.New("the guide's Traefik has no verifier over TLS")
		}
		delete(auth, "tls")
		auth["address"] = "http://" + at.Verifier + "/auth/forward"
		return nil
	})
}

func traefikAlone(text string) (string, error) {
	return edited(text, func(config node) error {
		router, _ := dig(config, "http", "routers", "api").(node)
		if router["middlewares"] == nil {
			return errors.New("the guide's Traefik has no middleware")
		}
		delete(router, "middlewares")
		return nil
	})
}

func traefikUsers(text string, keys []subject) (string, error) {
	return edited(text, func(config node) error {
		users := make([]any, len(keys))
		for i, key := range keys {
			sum := sha1.Sum([]byte(key.token))
			users[i] = key.name.Name + ":{SHA}" + base64.StdEncoding.EncodeToString(sum[:])
		}
		middlewares, _ := dig(config, "http", "middlewares").(node)
		if middlewares["apikey"] == nil {
			return errors.New("the guide's Traefik has no middleware apikey")
		}
		middlewares["apikey"] = node{"basicAuth": node{"users": users}}
		return nil
	})
}

// asUser turns a key's token into the credentials that basicAuth takes.
func asUser(s subject) subject {
	s.token = base64.StdEncoding.EncodeToString([]byte(s.name.Name + ":" + s.token))
	return s
}

// edited changes a YAML document.
func edited(text string, change func(node) error) (string, error) {
	var config node
	if err := yaml.Unmarshal([]byte(text), &config); err != nil {
		return "", err
	}
	if err := change(config); err != nil {
		return "", err
	}
	content, err := yaml.Marshal(config)
	return string(content), err
}

// dig returns what is at a path of keys and of numbers of elements, or nil.
func dig(in any, path ...any) any {
	for _, step := range path {
		switch at := step.(type) {
		case string:
			mapping, _ := in.(node)
			in = mapping[at]
		case int:
			elements, _ := in.([]any)
			if at >= len(elements) {
				return nil
			}
			in = elements[at]
		}
	}
	return in
}
