package proxies

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/enclave"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/gomodule"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const (
	gatewaySystem     = "envoy-gateway-system"
	gatewayController = "gateway.envoyproxy.io/gatewayclass-controller"
	envoyVersion      = "1.40.0"
)

// startEnvoyGateway starts Envoy Gateway and the Envoy that it drives, with the guide's objects: an HTTPRoute and a
// SecurityPolicy for each site, and the Gateway that they name.
func startEnvoyGateway(t testing.TB, p Proxy, e Environment, up *Upstream) (Listening, *program.Process) {
	t.Helper()
	return StartEnvoyGatewayWith(t, p, e, up, e.Verifier.GRPC)
}

// StartEnvoyGatewayWith starts an Envoy Gateway whose Envoy asks several verifiers, each at its own address.
func StartEnvoyGatewayWith(
	t testing.TB, p Proxy, e Environment, up *Upstream, verifiers ...string,
) (Listening, *program.Process) {
	t.Helper()
	gateway, envoy := need.Program(t, "envoy-gateway"), need.Program(t, "envoy")
	need.Program(t, need.Namespaces)
	cp := e.Plane(t)
	crds := filepath.Join(gomodule.EnvoyGateway.Folder(t), gomodule.EnvoyGatewayCRDs)
	applyCRDs(t, cp, "securitypolicies.gateway.envoyproxy.io", filepath.Join(crds, "gatewayapi-crds.yaml"),
		filepath.Join(crds, "generated"))
	apply(t, cp, namespaceNamed("gateways"), namespaceNamed(gatewaySystem))
	text, owner := readGuide(t, p.Guide, p.File), readGuide(t, p.Guide, "gateway.yaml")
	p.edit(t, &text, &owner)
	objects := append(services(t, "eg", up, verifiers...), gatewayObjects(t, objectsIn(t, owner))...)
	objects = append(objects, parseYAML(t, readGuide(t, "gateway-api", "backendtlspolicy.yaml")), Node{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": Node{"name": "apikey-ca", "namespace": "apikey-system"},
		"data": Node{"ca.crt": string(e.Authority.PEM)},
	})
	objects = append(objects, gatewaySites(t, objectsIn(t, text))...)
	apply(t, cp, objects...)

	kubeconfig, err := cp.KubeconfigFor("envoy-gateway", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	home := filepath.Join(dir, "home")
	files := gatewayCertificates(t, cp, gateway, kubeconfig, home)
	gatewayEnvoy(t, envoy, home)
	config := filepath.Join(dir, "envoy-gateway.yaml")
	writeYAML(t, config, gatewayConfig(dir, home))
	inside := enclave.Start(t, enclave.Options{
		Shared: shared(t, cp, up, verifiers...), Files: files,
		Programs: []enclave.Program{{
			Command: []string{gateway, "server", "--config-path", config},
			Env:     []string{"KUBECONFIG=" + kubeconfig, "ENVOY_GATEWAY_NAMESPACE=" + gatewaySystem, "HOME=" + home},
		}},
	})
	address := startInside(t, inside, "127.0.0.1:8000")
	at := Listening{HTTP1: address, HTTP2: address}
	awaitRoutes(t, p.Guide, inside, at, up)
	return at, inside.Process
}

// gatewayEnvoy puts an Envoy where Envoy Gateway looks before it downloads one.
func gatewayEnvoy(t testing.TB, envoy, home string) {
	t.Helper()
	place := filepath.Join(home, "envoy-versions", envoyVersion, "bin")
	if err := os.MkdirAll(place, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(envoy, filepath.Join(place, "envoy")); err != nil {
		t.Fatal(err)
	}
}

// gatewayConfig returns a configuration with which Envoy Gateway reads objects from an API server and starts its Envoy
// as a process.
func gatewayConfig(dir, home string) Node {
	return Node{
		"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyGateway",
		"gateway": Node{"controllerName": gatewayController},
		"logging": Node{"level": Node{"default": "warn"}},
		"provider": Node{"type": "Custom", "custom": Node{
			"resource": Node{"type": "Kubernetes", "kubernetes": Node{
				"leaderElection": Node{"disable": true}, "proxyTopologyInjector": Node{"disable": true},
			}},
			"infrastructure": Node{"type": "Host", "host": Node{
				"configHome": home, "dataHome": home, "stateHome": filepath.Join(dir, "state"),
				"runtimeDir": filepath.Join(dir, "run"),
			}},
		}},
	}
}

// gatewayObjects returns the objects that the guide's routes need: a Gateway for plain HTTP on all hosts, with the
// settings that the guide has for its owner. Its Envoy is a process here.
func gatewayObjects(t testing.TB, owner []Node) []any {
	t.Helper()
	if len(owner) != 2 || owner[1]["kind"] != "EnvoyProxy" {
		t.Fatalf("the guide's file has other objects: %v", owner)
	}
	At(t, owner[1], "spec")["provider"] = Node{"type": "Host", "host": Node{"envoyVersion": envoyVersion}}
	return []any{
		owner[0], owner[1],
		Node{
			"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": Node{"name": "envoy"},
			"spec": Node{
				"controllerName": gatewayController,
				"parametersRef": Node{
					"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "public", "namespace": "gateways",
				},
			},
		},
		Node{
			"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
			"metadata": Node{"name": "public", "namespace": "gateways"},
			"spec": Node{"gatewayClassName": "envoy", "listeners": []any{Node{
				"name": "http", "protocol": "HTTP", "port": 8000, "allowedRoutes": Node{"namespaces": Node{"from": "All"}},
			}}},
		},
	}
}

// gatewaySites turns the guide's objects for one host into objects for all sites.
func gatewaySites(t testing.TB, guide []Node) (all []any) {
	t.Helper()
	found := map[any]int{}
	for _, object := range guide {
		found[object["kind"]]++
		switch object["kind"] {
		case "HTTPRoute":
			for _, s := range Sites {
				all = append(all, gatewayRoute(t, object, s))
			}
		case "SecurityPolicy", "BackendTrafficPolicy":
			for _, s := range Sites {
				policy := Clone(t, object)
				At(t, policy, "metadata")["name"] = s.Name
				At(t, policy, "spec", "targetRefs", "0")["name"] = s.Name
				all = append(all, policy)
			}
		default:
			all = append(all, object)
		}
	}
	if found["HTTPRoute"] != 1 || found["SecurityPolicy"] != 1 || found["ReferenceGrant"] != 1 {
		t.Fatalf("the guide's file has other objects: %v", guide)
	}
	return all
}

// gatewayRoute returns the guide's route for a site.
func gatewayRoute(t testing.TB, guide Node, s Site) Node {
	t.Helper()
	route := Clone(t, guide)
	At(t, route, "metadata")["name"] = s.Name
	spec := At(t, route, "spec")
	if fmt.Sprint(spec["hostnames"]) != "["+GuideHost+"]" {
		t.Fatalf("the guide's route is for %v", spec["hostnames"])
	}
	spec["hostnames"] = s.Hosts
	At(t, route, "spec", "rules", "0", "matches", "0", "path")["value"] = "/"
	At(t, route, "spec", "rules", "0", "backendRefs", "0")["name"] = "eg-" + s.Name
	return route
}

// gatewayCertificates lets Envoy Gateway make its certificates, and puts them where it and its Envoy look for them. It
// returns the files that are at a fixed path.
func gatewayCertificates(
	t testing.TB, cp *controlplane.ControlPlane, gateway, kubeconfig, home string,
) map[string]string {
	t.Helper()
	command := exec.CommandContext(t.Context(), gateway, "certgen", "--disable-topology-injector")
	command.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "ENVOY_GATEWAY_NAMESPACE="+gatewaySystem)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	fixed := map[string]string{}
	for _, secret := range []string{"envoy-gateway", "envoy"} {
		folder := filepath.Join(home, "certs", secret)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"ca.crt", "tls.crt", "tls.key"} {
			encoded := install.Kubectl(t, cp, "get", "secret", "-n", gatewaySystem, secret, "-o",
				`go-template={{index .data "`+name+`"}}`)
			content, err := base64.StdEncoding.DecodeString(encoded)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(folder, name)
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if secret == "envoy-gateway" {
				fixed["/certs/"+name] = file
			}
		}
	}
	return fixed
}
