package conformance_test

import (
	"debug/buildinfo"
	"os"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/enclave"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/gomodule"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

func TestMain(m *testing.M) {
	enclave.Main()
	os.Exit(m.Run())
}

// gateways are the set-ups with a control plane, which reads the guide's objects and drives an Envoy. Only make
// test-nightly asks them, and make guides-table where they have been built. Each has an API server of its own.
var gateways = []setUp{
	{
		name: "contour", title: "[Contour](contour.md)", program: "contour", module: gomodule.Contour.Path,
		balanced: balanced{believing: true, edits: [][2]string{
			{"disablePermitInsecure: true\n", "disablePermitInsecure: true\nnetwork:\n  num-trusted-hops: 1\n"},
		}},
		trusting: true,
		calls: [][2]string{
			{"    - name: api\n      port: 80\n", "    - name: api\n      port: 80\n      protocol: h2c\n"},
		},
		mutants: []mutant{{[2]string{"failOpen: false", "failOpen: true"}, stoppedQuestion}},
	},
	{
		name: "envoy-gateway", title: "[Envoy Gateway](envoy-gateway.md)", program: "envoy-gateway",
		module:   gomodule.EnvoyGateway.Path,
		watching: true,
		balanced: balanced{believing: true, edits: [][2]string{{"remove: [X-Forwarded-For]", "remove: [X-Unused]"}}},
		calls:    [][2]string{}, // The API's Service says that it speaks HTTP/2.
		limited:  limitedForEnvoyGateway,
		mutants: []mutant{
			{[2]string{"failOpen: false", "failOpen: true"}, stoppedQuestion},
			{[2]string{"remove: [X-Forwarded-For]", "remove: [X-Unused]"}, addressQuestion},
		},
	},
}

// limitedForEnvoyGateway adds a policy to the guide's.
var limitedForEnvoyGateway = [][2]string{{"---\n# Lets policies of this namespace", `---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: BackendTrafficPolicy
metadata:
  name: limit
  namespace: warehouse
spec:
  targetRefs:
  - group: gateway.networking.k8s.io
    kind: HTTPRoute
    name: api
  rateLimit:
    local:
      rules:
      - clientSelectors:
        - headers: [{name: X-Api-Key-Id, type: Distinct}]
        limit: {requests: 3, unit: Minute}
---
# Lets policies of this namespace`}}

// isGateway reports whether the set-up has a control plane of its own.
func (u setUp) isGateway() bool { return u.module != "" }

// skipByDay skips the test of a gateway, unless the run is one that asks them.
func (u setUp) skipByDay(t *testing.T) {
	t.Helper()
	if u.isGateway() && os.Getenv(need.Nightly) == "" && os.Getenv(write) == "" {
		t.Skipf("make test-nightly asks %s", u.name)
	}
}

// builtFrom returns the version of the module that a program was built from.
func builtFrom(t *testing.T, binary, module string) string {
	t.Helper()
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module {
			return m.Version
		}
	}
	t.Fatalf("%s was not built from %s", binary, module)
	return ""
}
