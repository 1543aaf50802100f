package extauthz_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/nexuscommerce/apikey-operator/internal/surface/extauthz"
)

// TestUnreadable checks that a message that can't be decoded gets a denial, and not an error.
func TestUnreadable(t *testing.T) {
	valid, err := proto.Marshal(newCheck())
	if err != nil {
		t.Fatal(err)
	}
	c := newCheck()
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
			if got, _ := askWire(t, allowed, test.wire); (got != nil) != test.passes {
				t.Errorf("read as %+v", got)
			}
		})
	}
}

// FuzzHeaders checks that headers are read unchanged, in either form in which Envoy sends them.
func FuzzHeaders(f *testing.F) {
	f.Add("authorization", "Bearer a", "Authorization", "Bearer b", true)
	f.Add("x-tenant-id", "a", "x_tenant_id", "b", false)
	f.Add(":path", "/api/products?limit=10", "host", "evil.example", true)
	f.Add("x-forwarded-for", "10.0.0.1", "X-Forwarded-For", "203.0.113.7", false)
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string, lines bool) {
		c := newCheck()
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
		if _, err := proto.Marshal(c); err != nil {
			return // Protobuf's strings are UTF-8.
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
		for header, stated := range map[string]string{
			":path": request.Target, ":method": request.Method, ":authority": request.Host, "host": request.Host,
		} {
			if strings.EqualFold(name1, header) && value1 != stated || strings.EqualFold(name2, header) && value2 != stated {
				t.Errorf("%s contradicts %q", header, stated)
			}
		}
	})
}

// FuzzTarget checks that exactly what follows the prefix becomes the target.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{
		"/ext-authz/api/products?limit=10", "/ext-authz//a", "/ext-authz", "/ext-authz/../a", "*", "http://a/ext-authz/b",
	} {
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
