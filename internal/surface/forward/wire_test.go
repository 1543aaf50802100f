package forward_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/clientip"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// send sends header lines unchanged to a dialect's handler behind a real server. It returns the request that the
// decider gets, and the response.
func send(t *testing.T, d dialect, method string, lines ...string) (*verify.Request, *http.Response) {
	t.Helper()
	trust, err := clientip.NewTrust([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	decider := &recorder{decision: verify.Decision{Outcome: verify.Allow, Reason: verify.ReasonAllowed}}
	server := httptest.NewServer(d.handler(decider, trust))
	defer server.Close()
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()

	var wire strings.Builder
	fmt.Fprintf(&wire, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, d.path, d.host)
	for name, value := range d.headers {
		fmt.Fprintf(&wire, "%s: %s\r\n", name, value)
	}
	for _, line := range lines {
		wire.WriteString(line + "\r\n")
	}
	wire.WriteString("\r\n")
	if _, err := connection.Write([]byte(wire.String())); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return decider.request, response
}

// TestHeadersAsTheyAreSent checks that no value is lost, joined or added on the way to the decision. Duplicates are for
// verify to refuse.
func TestHeadersAsTheyAreSent(t *testing.T) {
	for name, test := range map[string]struct {
		lines                             []string
		authorization, tenant, connection []string
	}{
		"none": {nil, nil, nil, nil},
		"one of each": {
			[]string{"Authorization: Bearer a", "X-Tenant-ID: b", "Connection: keep-alive"},
			[]string{"Bearer a"}, []string{"b"}, []string{"keep-alive"},
		},
		"any case": {[]string{"aUTHORIZATION: Bearer a", "x-tenant-id: b"}, []string{"Bearer a"}, []string{"b"}, nil},
		"two keys": {
			[]string{"Authorization: Bearer a", "authorization: Bearer b"}, []string{"Bearer a", "Bearer b"}, nil, nil,
		},
		"two tenants":  {[]string{"X-Tenant-ID: a", "X-TENANT-ID: b"}, nil, []string{"a", "b"}, nil},
		"blank values": {[]string{"Authorization:", "X-Tenant-ID:  "}, []string{""}, []string{""}, nil},
		"joined values": {[]string{
			"Authorization: Bearer a, Bearer b", "X-Tenant-ID: a,b",
		}, []string{"Bearer a, Bearer b"}, []string{"a,b"}, nil},
		"a tenant nominated": {
			[]string{"X-Tenant-ID: b", "Connection: close, X-Tenant-ID"}, nil, []string{"b"}, []string{"close, X-Tenant-ID"},
		},
		"nominated in a second line": {
			[]string{"Connection: keep-alive", "connection: Authorization"}, nil, nil, []string{"keep-alive", "Authorization"},
		},
		"underscores":         {[]string{"X_Tenant_ID: b"}, nil, nil, nil},
		"a proxy's own names": {[]string{"Proxy-Authorization: Bearer a", "X-Forwarded-Tenant-ID: b"}, nil, nil, nil},
	} {
		for dialectName, d := range dialects {
			t.Run(dialectName+": "+name, func(t *testing.T) {
				request, response := send(t, d, http.MethodGet, test.lines...)
				if response.StatusCode != http.StatusOK || request == nil {
					t.Fatalf("status %d", response.StatusCode)
				}
				if got := described(request); got != asDescribed {
					t.Errorf("read as %q", got)
				}
				if !slices.Equal(request.Authorization, test.authorization) || !slices.Equal(request.TenantID, test.tenant) ||
					!slices.Equal(request.Connection, test.connection) {
					t.Errorf("read as %+v", request)
				}
			})
		}
	}
}

// TestAnswerOnTheWire checks that empty identity headers are really sent, whatever the method of the proxy's request.
func TestAnswerOnTheWire(t *testing.T) {
	for name, d := range dialects {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions} {
			t.Run(name+" "+method, func(t *testing.T) {
				_, response := send(t, d, method)
				for _, header := range identityHeaders {
					if got := response.Header.Values(header); !slices.Equal(got, []string{""}) {
						t.Errorf("%s is %q", header, got)
					}
				}
				wantNoStore(t, response)
			})
		}
	}
}

// TestClientAddress checks that the peer's address counts. The chain is tested in clientip.
func TestClientAddress(t *testing.T) {
	for name, test := range map[string]struct {
		peer         string
		forwardedFor []string
		want         string // empty if the client isn't known
	}{
		"by a trusted proxy":           {peer, []string{"203.0.113.7"}, "203.0.113.7"},
		"by two":                       {peer, []string{"203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		"forged to the left":           {peer, []string{"192.0.2.1, 203.0.113.7"}, "203.0.113.7"},
		"forged in a line of its own":  {peer, []string{"192.0.2.1", "203.0.113.7"}, "203.0.113.7"},
		"nothing said":                 {peer, nil, ""},
		"garbage":                      {peer, []string{"203.0.113.7, banana"}, ""},
		"by a proxy that isn't":        {"192.0.2.1:4711", []string{"203.0.113.7"}, ""},
		"by a mapped address":          {"[::ffff:10.0.0.1]:4711", []string{"203.0.113.7"}, "203.0.113.7"},
		"by a v6 proxy that isn't":     {"[2001:db8::1]:4711", []string{"203.0.113.7"}, ""},
		"by a peer with a zone":        {"[fe80::1%eth0]:4711", []string{"203.0.113.7"}, ""},
		"by a socket without address":  {"@", []string{"203.0.113.7"}, ""},
		"by a peer that isn't known":   {"", []string{"203.0.113.7"}, ""},
		"by an address without a port": {"10.0.0.1", []string{"203.0.113.7"}, ""},
	} {
		for dialectName, d := range dialects {
			t.Run(dialectName+": "+name, func(t *testing.T) {
				r := d.call()
				r.RemoteAddr = test.peer
				r.Header["X-Forwarded-For"] = test.forwardedFor
				want, _ := netip.ParseAddr(test.want)
				if d.hidesClient {
					want = netip.Addr{}
				}
				if got := d.asked(t, r).Client; got != want {
					t.Errorf("client %v, want %v", got, want)
				}
			})
		}
	}
}

func TestSurfaceIsNamed(t *testing.T) {
	for name, d := range dialects {
		for _, query := range []string{"", "nonsense"} { // One is decided, the other refused.
			decider := &recorder{}
			r := d.call()
			r.URL.RawQuery = query
			_ = d.ask(t, decider, r).Body.Close()
			if decider.surface != name {
				t.Errorf("%s is counted as %q", name, decider.surface)
			}
		}
	}
}
