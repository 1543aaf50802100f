package extauthz_test

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
)

// TestDescription changes what a CheckRequest says about the request. Invalid hosts and paths are for verify to refuse:
// here they must be unchanged.
func TestDescription(t *testing.T) {
	const as, misconfigured = "GET api.example.com /api/products?limit=10", "misconfigured"
	for name, test := range map[string]struct {
		change func(*authv3.CheckRequest)
		want   string
	}{
		"as it should be":      {func(*authv3.CheckRequest) {}, as},
		"headers line by line": {func(c *authv3.CheckRequest) { raw(c) }, as},
		"without headers":      {func(c *authv3.CheckRequest) { http(c).Headers = nil }, as},
		"another scheme":       {func(c *authv3.CheckRequest) { http(c).Scheme = "ftp" }, as},
		"a body":               {func(c *authv3.CheckRequest) { http(c).Body = "scope=a:b" }, as},
		"methods to override": {func(c *authv3.CheckRequest) {
			maps.Copy(http(c).Headers, map[string]string{
				"x-http-method-override": "DELETE", "x-http-method": "DELETE", "x-method-override": "DELETE",
				"x-original-url": "https://evil.example/admin", "x-original-method": "DELETE", "x-forwarded-method": "DELETE",
				"x-forwarded-host": "evil.example", "x-forwarded-uri": "/admin", "path": "/admin", "method": "DELETE",
				"x-envoy-original-path": "/admin", "scope": "a:b", "forwarded": "host=evil.example", "x-rewrite-url": "/admin",
			})
		}, as},
		"another method": {func(c *authv3.CheckRequest) {
			http(c).Method, http(c).Headers = "PROPFIND", nil
		}, "PROPFIND api.example.com /api/products?limit=10"},
		"a port": {func(c *authv3.CheckRequest) {
			http(c).Host, http(c).Headers = "api.example.com:8443", nil
		}, "GET api.example.com:8443 /api/products?limit=10"},
		"dot segments": {func(c *authv3.CheckRequest) {
			http(c).Path, http(c).Headers = "/a/../b//c%2f", nil
		}, "GET api.example.com /a/../b//c%2f"},
		"absolute form": {func(c *authv3.CheckRequest) {
			http(c).Path, http(c).Headers = "http://evil.example/a", nil
		}, "GET api.example.com http://evil.example/a"},

		"nothing":        {func(c *authv3.CheckRequest) { c.Reset() }, misconfigured},
		"no request":     {func(c *authv3.CheckRequest) { c.Attributes.Request = nil }, misconfigured},
		"not about HTTP": {func(c *authv3.CheckRequest) { c.Attributes.Request.Http = nil }, misconfigured},
		"no method": {
			func(c *authv3.CheckRequest) { http(c).Method, http(c).Headers = "", nil }, misconfigured,
		},
		"no host": {
			func(c *authv3.CheckRequest) { http(c).Host, http(c).Headers = "", nil }, "GET  /api/products?limit=10",
		},
		"no path": {
			func(c *authv3.CheckRequest) { http(c).Path, http(c).Headers = "", nil }, misconfigured,
		},
		"a fragment": {func(c *authv3.CheckRequest) { http(c).Fragment = "a" }, misconfigured},
		"another method among the headers": {
			func(c *authv3.CheckRequest) { http(c).Headers[":method"] = "DELETE" }, misconfigured,
		},
		"another path among the headers": {
			func(c *authv3.CheckRequest) { http(c).Headers[":path"] = "/admin" }, misconfigured,
		},
		"another host among the headers": {
			func(c *authv3.CheckRequest) { http(c).Headers[":authority"] = "evil.example" }, misconfigured,
		},
		"another host beside :authority": {
			func(c *authv3.CheckRequest) { http(c).Headers["host"] = "evil.example" }, misconfigured,
		},
		"the same host beside :authority": {
			func(c *authv3.CheckRequest) { http(c).Headers["Host"] = "api.example.com" }, as,
		},
		"another path among the lines": {func(c *authv3.CheckRequest) { raw(c, ":path", "/admin") }, misconfigured},
		"a path that is no UTF-8": {func(c *authv3.CheckRequest) {
			http(c).Path, http(c).Headers = "/a!", nil
			raw(c, ":path", "/a\xff")
		}, misconfigured},
		"headers in both ways": {func(c *authv3.CheckRequest) {
			http(c).HeaderMap = &corev3.HeaderMap{
				Headers: []*corev3.HeaderValue{{Key: "authorization", RawValue: []byte("Bearer a")}},
			}
		}, misconfigured},
		"a line of text and bytes": {func(c *authv3.CheckRequest) {
			raw(c)
			http(c).HeaderMap.Headers = append(
				http(c).HeaderMap.Headers, &corev3.HeaderValue{Key: "a", Value: "b", RawValue: []byte("c")},
			)
		}, misconfigured},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheck()
			test.change(c)
			request, response := ask(t, allowed, c)
			if got := described(request); got != test.want {
				t.Errorf("read as %q, want %q", got, test.want)
			}
			if test.want == misconfigured {
				wantRefusal(t, response, codes.PermissionDenied, 403, "proxy_misconfigured", "")
			} else if response.GetOkResponse() == nil {
				t.Errorf("answer %v", response)
			}
		})
	}
}

// TestHeadersAsTheyAreSent checks that no value is lost or added on the way to the decision. Duplicates are for verify
// to refuse.
func TestHeadersAsTheyAreSent(t *testing.T) {
	for name, test := range map[string]struct {
		joined                            map[string]string
		lines                             []string
		authorization, tenant, connection []string
	}{
		"none": {},
		"one of each": {joined: map[string]string{
			"authorization": "Bearer a", "x-tenant-id": "b", "connection": "c",
		}, authorization: []string{"Bearer a"}, tenant: []string{"b"}, connection: []string{"c"}},
		"joined": {joined: map[string]string{
			"authorization": "Bearer a,Bearer b", "x-tenant-id": "a,b",
		}, authorization: []string{"Bearer a,Bearer b"}, tenant: []string{"a,b"}},
		"any case": {joined: map[string]string{
			"Authorization": "Bearer a", "X-Tenant-ID": "b",
		}, authorization: []string{"Bearer a"}, tenant: []string{"b"}},
		"in two cases": {joined: map[string]string{
			"Authorization": "Bearer a", "authorization": "Bearer a",
		}, authorization: []string{"Bearer a", "Bearer a"}},
		"blank": {
			joined: map[string]string{"authorization": "", "x-tenant-id": ""}, authorization: []string{""}, tenant: []string{""},
		},
		"underscores": {joined: map[string]string{"x_tenant_id": "b"}},
		"lines": {lines: []string{
			"authorization", "Bearer a", "x-tenant-id", "b", "connection", "c",
		}, authorization: []string{"Bearer a"}, tenant: []string{"b"}, connection: []string{"c"}},
		"two keys": {lines: []string{
			"authorization", "Bearer a", "Authorization", "Bearer b",
		}, authorization: []string{"Bearer a", "Bearer b"}},
		"two tenants": {
			lines: []string{"x-tenant-id", "a", "user-agent", "curl", "x-tenant-id", "b"}, tenant: []string{"a", "b"},
		},
		"a key and a blank one": {
			lines: []string{"authorization", "Bearer a", "authorization", ""}, authorization: []string{"Bearer a", ""},
		},
		"a joined line": {
			lines: []string{"authorization", "Bearer a, Bearer b"}, authorization: []string{"Bearer a, Bearer b"},
		},
		"bytes that are no string": {lines: []string{"authorization", "Bearer \xff"}, authorization: []string{"Bearer \xff"}},
		"nominated in two lines": {
			lines: []string{"connection", "close", "connection", "X-Tenant-ID"}, connection: []string{"close", "X-Tenant-ID"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheck()
			http(c).Headers = test.joined
			if test.lines != nil {
				raw(c, test.lines...)
			}
			request, _ := ask(t, allowed, c)
			if request == nil {
				t.Fatal("refused")
			}
			if !slices.Equal(request.Authorization, test.authorization) || !slices.Equal(request.TenantID, test.tenant) ||
				!slices.Equal(request.Connection, test.connection) {
				t.Errorf("read as %+v", request)
			}
		})
	}
}

// TestTextLines checks single headers whose value is text, as older proxies send them.
func TestTextLines(t *testing.T) {
	c := newCheck()
	http(c).Headers = nil
	http(c).HeaderMap = &corev3.HeaderMap{
		Headers: []*corev3.HeaderValue{{Key: "authorization", Value: "Bearer a"}, {Key: "x-tenant-id", Value: "b"}},
	}
	request, _ := ask(t, allowed, c)
	if request == nil || !slices.Equal(request.Authorization, []string{"Bearer a"}) ||
		!slices.Equal(request.TenantID, []string{"b"}) {
		t.Errorf("read as %+v", request)
	}
}

func TestFixedScopes(t *testing.T) {
	for name, test := range map[string]struct {
		extensions map[string]string
		want       string
	}{
		"none":               {nil, "the route"},
		"an empty map":       {map[string]string{}, "the route"},
		"one":                {map[string]string{"scope": "products:read"}, "[products:read]"},
		"several":            {map[string]string{"scope": " products:read  orders:write "}, "[products:read orders:write]"},
		"everything":         {map[string]string{"scope": "*"}, "[*]"},
		"blank":              {map[string]string{"scope": ""}, "misconfigured"},
		"only a space":       {map[string]string{"scope": " "}, "misconfigured"},
		"no scope":           {map[string]string{"scope": "read"}, "misconfigured"},
		"one of two":         {map[string]string{"scope": "products:read x"}, "misconfigured"},
		"a comma":            {map[string]string{"scope": "products:read,orders:write"}, "misconfigured"},
		"in capitals":        {map[string]string{"scope": "Products:Read"}, "misconfigured"},
		"a misspelt name":    {map[string]string{"scopes": "products:read"}, "misconfigured"},
		"in the wrong case":  {map[string]string{"Scope": "products:read"}, "misconfigured"},
		"one name too many":  {map[string]string{"scope": "products:read", "debug": "1"}, "misconfigured"},
		"a blank name":       {map[string]string{"": ""}, "misconfigured"},
		"a line break in it": {map[string]string{"scope": "products:read\nx"}, "misconfigured"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheck()
			c.Attributes.ContextExtensions = test.extensions
			http(c).Headers["scope"] = "a:b"
			request, _ := ask(t, allowed, c)
			got := "the route"
			if request == nil {
				got = "misconfigured"
			} else if request.FixedScopes != nil {
				got = fmt.Sprint(request.FixedScopes)
			}
			if got != test.want {
				t.Errorf("asks for %s, want %s", got, test.want)
			}
		})
	}
}

// TestFixedScopesWithoutADescription checks that fixed scopes need no path, but need an HTTP request.
func TestFixedScopesWithoutADescription(t *testing.T) {
	c := newCheck()
	c.Attributes.ContextExtensions = map[string]string{"scope": "products:read"}
	http(c).Path, http(c).Headers = "", nil
	if request, _ := ask(t, allowed, c); request == nil {
		t.Error("refused without a path")
	}
	c.Attributes.Request = nil
	if request, _ := ask(t, allowed, c); request != nil {
		t.Error("decided without HTTP")
	}
}

// TestClientAddress checks what the client's address is read from. The chain is tested in clientip.
func TestClientAddress(t *testing.T) {
	for name, test := range map[string]struct {
		source *corev3.Address
		joined string
		lines  []string
		want   string // empty if the client isn't known
	}{
		"its own":                   {source: socket("203.0.113.7"), want: "203.0.113.7"},
		"its own, and what it says": {source: socket("203.0.113.7"), joined: "198.51.100.1", want: "203.0.113.7"},
		"through a proxy":           {source: socket("10.0.0.2"), joined: "198.51.100.1,203.0.113.7", want: "203.0.113.7"},
		"through a proxy, two lines": {source: socket("10.0.0.2"), lines: []string{
			"x-forwarded-for", "198.51.100.1", "x-forwarded-for", "203.0.113.7",
		}, want: "203.0.113.7"},
		"through a proxy, no chain": {source: socket("10.0.0.2")},
		"a mapped address":          {source: socket("::ffff:203.0.113.7"), want: "203.0.113.7"},
		"a zone":                    {source: socket("fe80::1%eth0"), joined: "203.0.113.7"},
		"a name":                    {source: socket("api.example.com"), joined: "203.0.113.7"},
		"a pipe": {
			source: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: "/run/a"}}}, joined: "203.0.113.7",
		},
		"nothing": {joined: "203.0.113.7"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCheck()
			c.Attributes.Source = &authv3.AttributeContext_Peer{Address: test.source}
			if test.joined != "" {
				http(c).Headers["x-forwarded-for"] = test.joined
			}
			if test.lines != nil {
				http(c).Headers = nil
				raw(c, test.lines...)
			}
			want, _ := netip.ParseAddr(test.want)
			request, _ := ask(t, allowed, c)
			if request == nil || request.Client != want {
				t.Errorf("read as %+v, want the client %v", request, want)
			}
		})
	}
}

// TestChainInTwoCases checks that the client isn't known if a map, which has no order, has two chains.
func TestChainInTwoCases(t *testing.T) {
	c := newCheck()
	http(c).Headers["x-forwarded-for"], http(c).Headers["X-Forwarded-For"] = "198.51.100.1", "203.0.113.7"
	if request, _ := ask(t, allowed, c); request != nil {
		t.Errorf("read as %+v", request)
	}
}

// TestNobodyTrusted checks that no proxy is trusted by default.
func TestNobodyTrusted(t *testing.T) {
	decider := &recorder{decision: allowed}
	wire, err := proto.Marshal(newCheck())
	if err != nil {
		t.Fatal(err)
	}
	checkWire(t, extauthz.NewGRPC(decider, clientip.Trust{}, false), t.Context(), wire)
	if decider.request.Client.IsValid() {
		t.Errorf("client %v", decider.request.Client)
	}
}
