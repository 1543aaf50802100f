package extauthz_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
)

// TestCodec checks that what can't be decoded is refused as a request, and not answered with an error.
func TestCodec(t *testing.T) {
	valid, err := proto.Marshal(check())
	if err != nil {
		t.Fatal(err)
	}
	c := check()
	http(c).Path = "/api/XXXX"
	http(c).Headers = nil
	noUTF8, err := proto.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	noUTF8 = []byte(strings.Replace(string(noUTF8), "XXXX", "a\xff\xfeb", 1))
	for name, test := range map[string]struct {
		wire   []byte
		passes bool
	}{
		"as it should be": {valid, true},
		"no UTF-8":        {noUTF8, false},
		"cut short":       {valid[:len(valid)-1], false},
		"garbage":         {[]byte("GET / HTTP/1.1\r\n"), false},
		"nothing":         {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			request := decode(t, test.wire)
			if got, _ := ask(t, allowed, request); (got != nil) != test.passes {
				t.Errorf("read as %+v", got)
			}
		})
	}
	if err := extauthz.Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(valid[:3])}, &authv3.CheckResponse{}); err == nil {
		t.Error("another message that can't be decoded is taken for one that can")
	}
}

// decode decodes a CheckRequest as the server does.
func decode(t *testing.T, wire []byte) *authv3.CheckRequest {
	t.Helper()
	request := check() // What was there before must not shine through.
	if err := extauthz.Codec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(wire)}, request); err != nil {
		t.Fatalf("an error, which some proxies let pass: %v", err)
	}
	return request
}

// FuzzCheckRequest checks that whatever stands in a message, the answer is one, and what is decided about is what it says.
func FuzzCheckRequest(f *testing.F) {
	seed := func(change func(*authv3.CheckRequest)) {
		c := check()
		change(c)
		wire, err := proto.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	seed(func(*authv3.CheckRequest) {})
	seed(func(c *authv3.CheckRequest) { raw(c, "x-forwarded-for", "a, b", "authorization", "Bearer \xff") })
	seed(func(c *authv3.CheckRequest) { c.Attributes.Request.Http = nil })
	seed(func(c *authv3.CheckRequest) {
		c.Attributes.ContextExtensions = map[string]string{"scope": "products:read"}
	})
	seed(func(c *authv3.CheckRequest) { http(c).Headers[":path"] = "/admin" })
	seed(func(c *authv3.CheckRequest) {
		http(c).HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{nil}}
	})
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		c := decode(t, wire)
		request, response := ask(t, allowed, c)
		if (request != nil) != (response.GetOkResponse() != nil) || (request == nil) != (response.GetDeniedResponse() != nil) {
			t.Fatalf("asked about %+v, answered %v", request, response)
		}
		if request == nil {
			return
		}
		stated := http(c)
		if stated == nil || request.Method != stated.GetMethod() || request.Host != stated.GetHost() || request.Target != stated.GetPath() {
			t.Errorf("%v is read as %+v", stated, request)
		}
		if (len(c.GetAttributes().GetContextExtensions()) > 0) != (request.FixedScopes != nil) {
			t.Errorf("%v asks for %q", c.GetAttributes().GetContextExtensions(), request.FixedScopes)
		}
		for _, scope := range request.FixedScopes {
			if !access.ValidScope(string(scope)) {
				t.Errorf("%q is no scope", scope)
			}
		}
		if request.FixedScopes == nil && (request.Host == "" || request.Method == "" || request.Target == "") {
			t.Errorf("decided about %+v", request)
		}
	})
}

// FuzzHeaders checks that what is read of the headers is what they are, whichever way Envoy sends them.
func FuzzHeaders(f *testing.F) {
	f.Add("authorization", "Bearer a", "Authorization", "Bearer b", true)
	f.Add("x-tenant-id", "a", "x_tenant_id", "b", false)
	f.Add(":path", "/api/products?limit=10", "host", "evil.example", true)
	f.Add("x-forwarded-for", "10.0.0.1", "X-Forwarded-For", "203.0.113.7", false)
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string, lines bool) {
		c := check()
		http(c).Headers = nil
		if lines {
			raw(c, name1, value1, name2, value2)
		} else {
			http(c).Headers = map[string]string{name1: value1, name2: value2}
			if name1 == name2 {
				value1 = value2
				name2 = ""
			}
		}
		var authorization, tenant []string
		for _, header := range [][2]string{{name1, value1}, {name2, value2}} {
			switch {
			case strings.ToLower(header[0]) == "authorization":
				authorization = append(authorization, header[1])
			case strings.ToLower(header[0]) == "x-tenant-id":
				tenant = append(tenant, header[1])
			}
		}
		request, _ := ask(t, allowed, c)
		if request == nil {
			return
		}
		if !lines { // A map has no order.
			slices.Sort(authorization)
			slices.Sort(tenant)
			slices.Sort(request.Authorization)
			slices.Sort(request.TenantID)
		}
		if !slices.Equal(request.Authorization, authorization) || !slices.Equal(request.TenantID, tenant) {
			t.Errorf("read as %+v", request)
		}
		for header, stated := range map[string]string{":path": request.Target, ":method": request.Method, ":authority": request.Host, "host": request.Host} {
			if strings.EqualFold(name1, header) && value1 != stated || strings.EqualFold(name2, header) && value2 != stated {
				t.Errorf("%s contradicts %q", header, stated)
			}
		}
	})
}

// FuzzTarget checks that what stands behind the prefix comes out as it went in, and nothing else does.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"/ext-authz/api/products?limit=10", "/ext-authz//a", "/ext-authz", "/ext-authz/../a", "*", "http://a/ext-authz/b"} {
		f.Add("GET", seed, "api.example.com")
	}
	f.Fuzz(func(t *testing.T, method, target, host string) {
		r := call("GET", target)
		r.Method, r.Host = method, host
		request, response := askHTTP(t, allowed, r.WithContext(context.Background()), false)
		if (request != nil) != strings.HasPrefix(target, "/ext-authz/") || (request != nil) != (response.StatusCode == 200) {
			t.Fatalf("%q: status %d", target, response.StatusCode)
		}
		if request != nil && (extauthz.Prefix+request.Target != target || request.Method != method || request.Host != host) {
			t.Errorf("%q is read as %+v", target, request)
		}
	})
}
