package extauthz_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/nexuscommerce/apikey-operator/internal/override"
	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// headerValues returns the headers of an answer. It fails the test if one is there twice, or may be appended to the
// client's own.
func headerValues(t *testing.T, headers []*corev3.HeaderValueOption) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, option := range headers {
		name := option.GetHeader().GetKey()
		if _, twice := all[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		all[name] = option.GetHeader().GetValue()
		action, older := option.GetAppendAction(), option.GetAppend() //nolint:staticcheck // It must not be there.
		if action != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD || older != nil {
			t.Errorf("%s doesn't replace the client's own: %v", name, option)
		}
	}
	return all
}

func TestPass(t *testing.T) {
	for name, test := range map[string]struct {
		decision  verify.Decision
		keepToken bool
		set       map[string]string
		remove    []string // in addition to the aliases
		metadata  map[string]any
	}{
		"a key": {
			decision: allowed,
			set: map[string]string{
				"X-Api-Key-Id": "7Hk2PqZx", "X-Api-Key-Name": "shop/warehouse", "X-Api-Key-Scopes": "products:read orders:*",
				"X-Api-Key-Tenant": acme,
			},
			remove: []string{"authorization"},
			metadata: map[string]any{
				"key_id": "7Hk2PqZx", "key_name": "shop/warehouse", "tenant": acme, "scopes": []any{"products:read", "orders:*"},
			},
		},
		"a key, and its token kept": {
			decision:  allowed,
			keepToken: true,
			set: map[string]string{
				"X-Api-Key-Id": "7Hk2PqZx", "X-Api-Key-Name": "shop/warehouse", "X-Api-Key-Scopes": "products:read orders:*",
				"X-Api-Key-Tenant": acme,
			},
			metadata: map[string]any{
				"key_id": "7Hk2PqZx", "key_name": "shop/warehouse", "tenant": acme, "scopes": []any{"products:read", "orders:*"},
			},
		},
		"nobody": {
			decision: nobody,
			set:      map[string]string{},
			remove:   append([]string{"authorization"}, identityHeaders...),
		},
	} {
		t.Run(name, func(t *testing.T) {
			wire, err := proto.Marshal(newCheck())
			if err != nil {
				t.Fatal(err)
			}
			response := checkWire(
				t, extauthz.NewGRPC(&recorder{decision: test.decision}, newTrust(t), test.keepToken), t.Context(), wire,
			)
			ok := response.GetOkResponse()
			if response.GetStatus().GetCode() != int32(codes.OK) || ok == nil {
				t.Fatalf("answer %v", response)
			}
			if got := headerValues(t, ok.GetHeaders()); !maps.Equal(got, test.set) {
				t.Errorf("headers %v, want %v", got, test.set)
			}
			if ok.GetResponseHeadersToAdd() != nil || ok.GetQueryParametersToSet() != nil ||
				ok.GetQueryParametersToRemove() != nil {
				t.Errorf("answer %v", ok)
			}
			wantRemoved(t, ok.GetHeadersToRemove(), test.remove)
			if got := response.GetDynamicMetadata().AsMap(); len(got) != len(test.metadata) ||
				test.metadata != nil && !equalJSON(t, got, test.metadata) {
				t.Errorf("metadata %v, want %v", got, test.metadata)
			}
		})
	}
}

func equalJSON(t *testing.T, a, b any) bool {
	t.Helper()
	left, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	right, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(left) == string(right)
}

// wantRemoved checks that these headers are removed, and also those that override parts of the request, and aliases of
// ours.
func wantRemoved(t *testing.T, got, want []string) {
	t.Helper()
	always := slices.Concat(override.Names(), override.Aliases(), underscored)
	var removed []string
	for _, name := range got {
		if !slices.Contains(always, name) {
			removed = append(removed, name)
		}
	}
	slices.Sort(removed)
	if !slices.Equal(removed, slices.Sorted(slices.Values(want))) {
		t.Errorf("removed %q, want %q", removed, want)
	}
	for _, name := range always {
		if !slices.Contains(got, name) {
			t.Errorf("%s is not removed", name)
		}
	}
}

var underscored = []string{
	"x_tenant_id", "x_tenant-id", "x-tenant_id",
	"x_api_key_id", "x-api_key_id", "x_api-key_id", "x_api_key-id", "x-api-key_id", "x-api_key-id", "x_api-key-id",
	"x_api_key_name", "x-api_key_name", "x_api-key_name", "x_api_key-name", "x-api-key_name", "x-api_key-name",
	"x_api-key-name",
	"x_api_key_scopes", "x-api_key_scopes", "x_api-key_scopes", "x_api_key-scopes", "x-api-key_scopes", "x-api_key-scopes",
	"x_api-key-scopes",
	"x_api_key_tenant", "x-api_key_tenant", "x_api-key_tenant", "x_api_key-tenant", "x-api-key_tenant", "x-api_key-tenant",
	"x_api-key-tenant",
}

func TestRefuse(t *testing.T) {
	const realm = `Bearer realm="api.example.com"`
	for name, test := range map[string]struct {
		decision  verify.Decision
		code      codes.Code
		status    int32
		challenge string
		reason    string
	}{
		"no credentials": {
			verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonNoCredentials},
			codes.Unauthenticated, 401, realm, "no_credentials",
		},
		"revoked, and who it was": {
			verify.Decision{Outcome: verify.Unauthorized, Reason: verify.ReasonRevoked, Grant: grant},
			codes.Unauthenticated, 401, realm + `, error="invalid_token", error_description="The API key has been revoked."`,
			"revoked",
		},
		"scope missing": {
			verify.Decision{Outcome: verify.Forbidden, Reason: verify.ReasonScopeMissing, Grant: grant, MissingScope: "a:b"},
			codes.PermissionDenied, 403,
			realm + `, error="insufficient_scope", error_description="The API key lacks a scope that this route needs.", ` +
				`scope="a:b"`,
			"insufficient_scope",
		},
		"no route": {
			verify.Decision{Outcome: verify.Forbidden, Reason: verify.ReasonNoRoute},
			codes.PermissionDenied, 403, "", "route_not_declared",
		},
		"not fresh": {
			verify.Decision{Outcome: verify.Unavailable, Reason: verify.ReasonUnavailable},
			codes.PermissionDenied, 503, "", "unavailable",
		},
		"never decided": {verify.Decision{}, codes.PermissionDenied, 503, "", "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			_, response := ask(t, test.decision, newCheck())
			wantRefusal(t, response, test.code, test.status, test.reason, test.challenge)
		})
	}
}

// wantRefusal checks everything in an answer that is a denial, which no configuration of a proxy lets pass.
func wantRefusal(
	t *testing.T, response *authv3.CheckResponse, code codes.Code, status int32, reason, challenge string,
) {
	t.Helper()
	denied := response.GetDeniedResponse()
	if response.GetStatus().GetCode() != int32(code) || denied == nil {
		t.Fatalf("answer %v", response)
	}
	if int32(denied.GetStatus().GetCode()) != status {
		t.Errorf("status %d, want %d", denied.GetStatus().GetCode(), status)
	}
	want := map[string]string{"Cache-Control": "no-store", "Content-Type": "application/json"}
	if challenge != "" {
		want["Www-Authenticate"] = challenge
	}
	if got := headerValues(t, denied.GetHeaders()); !maps.Equal(got, want) {
		t.Errorf("headers %v\nwant    %v", got, want)
	}
	var answer struct{ Reason, Message string }
	if err := json.Unmarshal([]byte(denied.GetBody()), &answer); err != nil {
		t.Fatalf("body %q: %v", denied.GetBody(), err)
	}
	if answer.Reason != reason || answer.Message == "" {
		t.Errorf("body %s, want the reason %s", denied.GetBody(), reason)
	}
	if response.GetDynamicMetadata() != nil {
		t.Errorf("metadata %v", response.GetDynamicMetadata())
	}
}

// TestLongAnswers checks answers with texts of the lengths at which an encoded length takes another byte.
func TestLongAnswers(t *testing.T) {
	for _, length := range []int{0, 1, 100, 127, 128, 129, 1000, 16_383, 16_384, 70_000, 1 << 21} {
		long := grant
		long.Name, long.ScopesHeader = strings.Repeat("n", length), strings.Repeat("s", length)+" b:c"
		_, response := ask(t, verify.Decision{Outcome: verify.Allow, Grant: long, TenantID: acme}, newCheck())
		set := headerValues(t, response.GetOkResponse().GetHeaders())
		if set["X-Api-Key-Name"] != long.Name || set["X-Api-Key-Scopes"] != long.ScopesHeader ||
			set["X-Api-Key-Tenant"] != acme {
			t.Errorf("%d: headers %.200v", length, set)
		}
		named := response.GetDynamicMetadata().AsMap()
		if named["key_name"] != long.Name || named["tenant"] != acme {
			t.Errorf("%d: metadata %.200v", length, named)
		}
		if blank := slices.Contains(response.GetOkResponse().GetHeadersToRemove(), "x-api-key-name"); blank != (length == 0) {
			t.Errorf("%d: the name is removed: %t", length, blank)
		}
	}
}
