package guides_test

import (
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	// Each registers the types that the configuration names by their URLs.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
	"istio.io/api/mesh/v1alpha1"
	"sigs.k8s.io/yaml"
)

// unmarshal reads YAML into a message. An unknown field or type is an error.
func unmarshal(t *testing.T, text string, message proto.Message) {
	t.Helper()
	content, err := yaml.YAMLToJSONStrict([]byte(text))
	if err == nil {
		err = protojson.Unmarshal(content, message)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// validate runs the rules of a message, and of the messages in it whose type is only known from the content. It returns
// how many messages have rules.
func validate(t *testing.T, message proto.Message) int {
	t.Helper()
	validated := 0
	err := protorange.Options{Stable: true}.Range(message.ProtoReflect(), func(values protopath.Values) error {
		inner, ok := values.Index(-1).Value.Interface().(protoreflect.Message)
		if !ok {
			return nil
		}
		if rules, ok := inner.Interface().(interface{ ValidateAll() error }); ok {
			validated++
			return rules.ValidateAll()
		}
		return nil
	}, nil)
	if err != nil {
		t.Error(err)
	}
	return validated
}

func TestEnvoyOverGRPC(t *testing.T) {
	var bootstrap bootstrapv3.Bootstrap
	unmarshal(t, read(t, guide("envoy", "grpc.yaml")), &bootstrap)
	if n := validate(t, &bootstrap); n < 20 {
		t.Errorf("only %d messages have rules", n)
	}
}

func TestEnvoyOverHTTP(t *testing.T) {
	var bootstrap bootstrapv3.Bootstrap
	unmarshal(t, read(t, guide("envoy", "http.yaml")), &bootstrap)
	if n := validate(t, &bootstrap); n < 20 {
		t.Errorf("only %d messages have rules", n)
	}
}

func TestIstioMeshConfig(t *testing.T) {
	for _, name := range []string{"meshconfig.yaml", "meshconfig-http.yaml"} {
		t.Run(name, func(t *testing.T) {
			var values struct {
				MeshConfig map[string]any `json:"meshConfig"`
			}
			if err := yaml.UnmarshalStrict([]byte(read(t, guide("istio", name))), &values); err != nil {
				t.Fatal(err)
			}
			content, err := yaml.Marshal(values.MeshConfig)
			if err != nil {
				t.Fatal(err)
			}
			var mesh v1alpha1.MeshConfig
			unmarshal(t, string(content), &mesh)
			if len(mesh.GetExtensionProviders()) != 1 {
				t.Fatalf("%d providers", len(mesh.GetExtensionProviders()))
			}
			provider := mesh.GetExtensionProviders()[0].GetName()
			if policy := read(t, guide("istio", "apikey.yaml")); !strings.Contains(policy, "name: "+provider+"\n") {
				t.Errorf("the policy names another provider than %s", provider)
			}
		})
	}
}
