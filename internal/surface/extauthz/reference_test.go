package extauthz_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// reference reads a CheckRequest by the generated types. It returns the request for the decision, or nil if it must be
// refused.
func reference(t testing.TB, wire []byte) *verify.Request {
	t.Helper()
	c := &authv3.CheckRequest{}
	if err := proto.Unmarshal(wire, c); err != nil {
		return nil
	}
	stated := http(c)
	request := &verify.Request{Host: stated.GetHost(), Method: stated.GetMethod(), Target: stated.GetPath()}
	joined, lines := stated.GetHeaders(), stated.GetHeaderMap().GetHeaders()
	if stated == nil || stated.GetFragment() != "" || len(joined) > 0 && len(lines) > 0 {
		return nil
	}
	var chain []string
	ok := true
	add := func(name, value string) {
		switch strings.ToLower(name) {
		case "authorization":
			request.Authorization = append(request.Authorization, value)
		case "x-tenant-id":
			request.TenantID = append(request.TenantID, value)
		case "connection":
			request.Connection = append(request.Connection, value)
		case "traceparent":
			request.Traceparent = append(request.Traceparent, value)
		case "x-forwarded-for":
			chain = append(chain, value)
		case ":method":
			ok = ok && value == stated.GetMethod()
		case ":path":
			ok = ok && value == stated.GetPath()
		case ":authority", "host":
			ok = ok && value == stated.GetHost()
		}
	}
	for name, value := range joined {
		add(name, value)
	}
	ok = ok && (len(joined) == 0 || len(chain) <= 1)
	for _, line := range lines {
		ok = ok && (line.GetValue() == "" || len(line.GetRawValue()) == 0)
		add(line.GetKey(), line.GetValue()+string(line.GetRawValue()))
	}
	peer, _ := netip.ParseAddr(c.GetAttributes().GetSource().GetAddress().GetSocketAddress().GetAddress())
	request.Client = newTrust(t).ClientOfProxy(peer, chain)
	if extensions := c.GetAttributes().GetContextExtensions(); len(extensions) > 0 {
		var scopes []keysv1alpha1.Scope
		scopes, parsed := access.ParseScopes(extensions["scope"])
		request.FixedScopes = scopes
		ok = ok && parsed && len(extensions) == 1
	}
	if !ok || request.FixedScopes == nil && (request.Host == "" || request.Method == "" || request.Target == "") {
		return nil
	}
	return request
}

// text returns all of a request as text that does not depend on the order of a map.
func text(r *verify.Request) string {
	if r == nil {
		return "refused"
	}
	for _, values := range [][]string{r.Authorization, r.TenantID, r.Connection, r.Traceparent} {
		slices.Sort(values)
	}
	return fmt.Sprintf("%q %q %q %v %q %v %q %q %q %q",
		r.Method, r.Host, r.Target, r.Client, r.FixedScopes, r.FixedScopes == nil,
		r.Authorization, r.TenantID, r.Connection, r.Traceparent)
}

// full returns a CheckRequest with content in every message.
func full() *authv3.CheckRequest {
	c := newCheck()
	a := c.Attributes
	a.Source.Labels, a.Source.Principal, a.Source.Certificate = map[string]string{"app": "shop"}, "spiffe://a/b", "PEM"
	a.Destination = &authv3.AttributeContext_Peer{
		Service: "api",
		Address: &corev3.Address{Address: &corev3.Address_EnvoyInternalAddress{
			EnvoyInternalAddress: &corev3.EnvoyInternalAddress{
				EndpointId:           "1",
				AddressNameSpecifier: &corev3.EnvoyInternalAddress_ServerListenerName{ServerListenerName: "l"},
			},
		}},
	}
	a.Request.Time = &timestamppb.Timestamp{Seconds: 1, Nanos: 2}
	http(c).Size, http(c).Body, http(c).RawBody, http(c).Protocol, http(c).Query = -1, "b", []byte{0xff}, "HTTP/2", "q"
	value, err := structpb.NewStruct(map[string]any{"a": []any{"b", 1.0, true, nil, map[string]any{"c": "d"}}})
	if err != nil {
		panic(err)
	}
	a.MetadataContext = &corev3.Metadata{
		FilterMetadata:      map[string]*structpb.Struct{"f": value},
		TypedFilterMetadata: map[string]*anypb.Any{"g": {TypeUrl: "type.googleapis.com/x", Value: []byte("y")}},
	}
	a.RouteMetadataContext = a.MetadataContext
	a.TlsSession = &authv3.AttributeContext_TLSSession{Sni: "api.example.com"}
	return c
}

// nest puts content into nested fields, the outermost first.
func nest(content []byte, fields ...protowire.Number) []byte {
	for _, field := range slices.Backward(fields) {
		content = protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), content)
	}
	return content
}

// wires returns encoded CheckRequests, valid and invalid.
func wires(t testing.TB) map[string][]byte {
	marshal := func(c *authv3.CheckRequest) []byte {
		wire, err := proto.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return wire
	}
	lines := newCheck()
	raw(lines, "x-forwarded-for", "a, b", "authorization", "Bearer \xff")
	scoped := newCheck()
	scoped.Attributes.ContextExtensions = map[string]string{"scope": "products:read"}
	pipe := &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: "/run/a"}}}
	one := marshal(newCheck())
	header := func(name, value string) []byte {
		return nest(append(nest([]byte(name), 1), nest([]byte(value), 2)...), 1, 4, 2, 3)
	}
	group := protowire.AppendTag(protowire.AppendTag(nil, 77, protowire.StartGroupType), 77, protowire.EndGroupType)
	return map[string][]byte{
		"as it comes": one, "everything": marshal(full()), "lines": marshal(lines), "scoped": marshal(scoped),
		// If a field is there twice, messages are merged, and the last text counts.
		"twice":            slices.Concat(one, marshal(full())),
		"another path":     slices.Concat(one, nest([]byte("/admin"), 1, 4, 2, 4)),
		"the path cleared": slices.Concat(one, nest(nil, 1, 4, 2, 4)),
		"another address":  slices.Concat(one, nest([]byte("10.0.0.1"), 1, 1, 1, 1, 2)),
		"no longer a socket": slices.Concat(one, marshal(
			&authv3.CheckRequest{Attributes: &authv3.AttributeContext{Source: &authv3.AttributeContext_Peer{Address: pipe}}},
		)),
		"a socket again": slices.Concat(one, nest(nil, 1, 1, 1, 2), nest(nil, 1, 1, 1, 1)),
		// Of a map's entries with one key the last counts. A missing key or value is empty.
		"a header twice":    slices.Concat(one, header("authorization", "Bearer z")),
		"a pseudo-header":   slices.Concat(one, header(":path", "/admin")),
		"blank, then right": slices.Concat(header(":path", ""), one),
		"in another case":   slices.Concat(one, header("Authorization", "Bearer z")),
		"a name alone":      slices.Concat(one, nest([]byte("authorization"), 1, 4, 2, 3, 1)),
		"an entry of none":  slices.Concat(one, nest(nil, 1, 4, 2, 3)),
		"a key twice": slices.Concat(
			one, nest(append(nest([]byte("a"), 1), header("x-tenant-id", "c")...), 1, 4, 2, 3),
		),
		"scopes twice": slices.Concat(
			nest(append(nest([]byte("scope"), 1), nest([]byte("a:b"), 2)...), 1, 10), marshal(scoped),
		),
		"a map and no lines": slices.Concat(one, nest(nil, 1, 4, 2, 13)),
		"a map and a line":   slices.Concat(one, nest(nil, 1, 4, 2, 13, 1)),
		// Unknown fields are skipped if they are well-formed.
		"an unknown field": slices.Concat(one, nest([]byte("x"), 1, 4, 2, 99)),
		"a group":          slices.Concat(group, one, group),
		"a group in a group": slices.Concat(protowire.AppendTag(
			nil, 7, protowire.StartGroupType,
		), group, protowire.AppendTag(nil, 7, protowire.EndGroupType), one),
		"a group of another": slices.Concat(
			one, protowire.AppendTag(nil, 7, protowire.StartGroupType), protowire.AppendTag(nil, 8, protowire.EndGroupType),
		),
		"a group without end":  slices.Concat(one, protowire.AppendTag(nil, 7, protowire.StartGroupType)),
		"an end without group": slices.Concat(one, protowire.AppendTag(nil, 7, protowire.EndGroupType)),
		"a number for a text": slices.Concat(
			one, nest(protowire.AppendVarint(protowire.AppendTag(nil, 4, protowire.VarintType), 7), 1, 4, 2),
		),
		"a fixed one": slices.Concat(
			one, protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), 7),
		),
		"the largest number": slices.Concat(
			one, protowire.AppendVarint(protowire.AppendTag(nil, protowire.MaxValidNumber, protowire.VarintType), 1<<63),
		),
		"field 0":               slices.Concat(one, []byte{0, 0}),
		"beyond any field":      slices.Concat(one, protowire.AppendVarint(nil, 1<<32), []byte{0}),
		"wire type 6":           slices.Concat(one, []byte{1<<3 | 6}),
		"a number of 11 bytes":  slices.Concat(one, []byte("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")),
		"a number beyond 64":    slices.Concat(one, []byte("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")),
		"a long way to say 1":   slices.Concat(one, []byte("\x8a\x80\x00\x00")),
		"longer than there is":  slices.Concat(one, []byte("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")),
		"no UTF-8 in a header":  slices.Concat(one, header("user-agent", "\xff")),
		"no UTF-8 in a name":    slices.Concat(one, header("\xff", "a")),
		"no UTF-8 in metadata":  slices.Concat(one, nest([]byte("\xff"), 1, 11, 1, 2, 1, 2, 3)),
		"no UTF-8 in the peer":  slices.Concat(one, nest([]byte("\xff"), 1, 2, 4)),
		"no UTF-8 in a body":    slices.Concat(one, nest([]byte("\xff"), 1, 4, 2, 11)),
		"raw body of any bytes": slices.Concat(one, nest([]byte("\xff"), 1, 4, 2, 12)),
		"broken metadata":       slices.Concat(one, nest([]byte{0xff}, 1, 11, 1, 2, 1, 2, 5)),
		"broken time":           slices.Concat(one, nest([]byte{0xff}, 1, 4, 1)),
	}
}

// TestAgainstProto checks that a message is read as by the generated types.
func TestAgainstProto(t *testing.T) {
	passes := 0
	for name, wire := range wires(t) {
		got, _ := askWire(t, allowed, wire)
		want := reference(t, wire)
		if text(got) != text(want) {
			t.Errorf("%s: read as %s, want %s", name, text(got), text(want))
		}
		if want != nil {
			passes++
		}
	}
	if passes < 15 {
		t.Errorf("only %d pass", passes)
	}
}

// FuzzAgainstProto checks the same for any bytes, and that the answer is valid.
func FuzzAgainstProto(f *testing.F) {
	for _, wire := range wires(f) {
		f.Add(wire)
	}
	f.Add([]byte("garbage"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		got, response := askWire(t, allowed, wire)
		if (got != nil) != (response.GetOkResponse() != nil) || (got == nil) != (response.GetDeniedResponse() != nil) {
			t.Fatalf("asked about %+v, answered %v", got, response)
		}
		want := reference(t, wire)
		if got == nil && want != nil &&
			len(want.Authorization)+len(want.TenantID)+len(want.Connection)+len(want.Traceparent) > 50 {
			return // More than maxHeaders, which the reference does not check.
		}
		if text(got) != text(want) {
			t.Errorf("read as %s, want %s", text(got), text(want))
		}
	})
}
