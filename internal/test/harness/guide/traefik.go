package guide

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// node is a mapping of a YAML document.
type node = map[string]any

// writeTraefik writes Traefik's configuration as files, because a control plane without Traefik's own kinds can't have
// the guide's objects: what the guide's entry point, Middleware and IngressRoute say, with other addresses. The
// verifier's name stays, because its certificate is checked for it.
func writeTraefik(path, static, objects string, at Places, change func(string) (string, error)) error {
	var config node
	if err := yaml.UnmarshalStrict([]byte(static), &config); err != nil {
		return err
	}
	entryPoint, err := mapping(config, "entryPoints", "websecure")
	if err != nil {
		return err
	}
	entryPoint["address"] = at.Proxy
	routes := filepath.Join(filepath.Dir(path), "routes.yaml")
	config["providers"] = node{"file": node{"filename": routes, "watch": false}}
	config["global"] = node{"checkNewVersion": false, "sendAnonymousUsage": false}
	dynamic, err := traefikRoutes(objects, at)
	if err != nil {
		return err
	}
	text, err := yaml.Marshal(dynamic)
	if err != nil {
		return err
	}
	changed, err := change(string(text))
	if err != nil {
		return err
	}
	return errors.Join(writeYAML(path, config), os.WriteFile(routes, []byte(changed), 0o600))
}

// traefikRoutes turns the guide's Middleware and IngressRoute into what Traefik's file provider reads. The guide's host
// is served in plain text, as by the other proxies.
func traefikRoutes(objects string, at Places) (node, error) {
	first, second, found := strings.Cut(objects, "\n---\n")
	var middleware, route node
	err := errors.Join(yaml.UnmarshalStrict([]byte(first), &middleware), yaml.UnmarshalStrict([]byte(second), &route))
	if !found || err != nil {
		return nil, fmt.Errorf("the guide's objects are not two: %w", err)
	}
	auth, authErr := mapping(middleware, "spec", "forwardAuth")
	name, nameErr := mapping(middleware, "metadata")
	spec, specErr := mapping(route, "spec")
	if err := errors.Join(authErr, nameErr, specErr); err != nil {
		return nil, err
	}
	if tls, err := mapping(auth, "tls"); err != nil || tls["caSecret"] == nil {
		return nil, errors.Join(errors.New("the guide's Middleware has no tls.caSecret"), err)
	}
	auth["tls"] = node{"ca": at.Authority}
	rules, _ := spec["routes"].([]any)
	if len(rules) != 1 {
		return nil, fmt.Errorf("the guide's IngressRoute has %d routes", len(rules))
	}
	rule, _ := rules[0].(node)
	return node{"http": node{
		"middlewares": node{fmt.Sprint(name["name"]): node{"forwardAuth": auth}},
		"routers": node{"api": node{
			"entryPoints": spec["entryPoints"], "rule": rule["match"], "service": "api",
			"middlewares": []any{name["name"]},
		}},
		"services": node{"api": node{"loadBalancer": node{"servers": []any{node{"url": "http://" + at.Backend}}}}},
	}}, nil
}

// mapping returns the mapping at a path of keys.
func mapping(in node, path ...string) (node, error) {
	for i, key := range path {
		inner, ok := in[key].(node)
		if !ok {
			return nil, fmt.Errorf("the guide's file has no %s", strings.Join(path[:i+1], "."))
		}
		in = inner
	}
	return in, nil
}

func writeYAML(path string, content node) error {
	text, err := yaml.Marshal(content)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}
