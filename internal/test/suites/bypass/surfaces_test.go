package bypass_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/proxies"
)

// surface is one of the verifier's surfaces, asked by a proxy that changes nothing: the verifier and the upstream get
// what the client sent. So whatever the verifier allows must be harmless in every reading, without the help of a proxy.
type surface struct {
	// ask asks the verifier about a request, and returns the identity headers of its 200, and the headers that it wants
	// removed.
	ask func(b *testbed, r *proxies.Received) (pass bool, set map[string]string, remove []string)
	// onlyProducts and hidesClient are those of a target. tellsWhat is set if the verifier itself names the headers to
	// remove, including aliases with underscores.
	onlyProducts, hidesClient, tellsWhat bool
}

var surfaces = map[string]surface{
	"/auth/nginx": {ask: func(b *testbed, r *proxies.Received) (bool, map[string]string, []string) {
		if strings.Contains(r.Host(), "/") {
			// X-Original-URL can't say where such a host ends. nginx itself refuses it: ngx_http_validate_host.
			return false, nil, nil
		}
		return b.askHTTP("GET /auth/nginx", "verifier", r, [][2]string{
			{"X-Original-URL", "http://" + r.Host() + r.Target}, {"X-Original-Method", r.Method}, {"X-Forwarded-For", chain(r)},
		})
	}},
	"/auth/forward": {ask: func(b *testbed, r *proxies.Received) (bool, map[string]string, []string) {
		return b.askHTTP("GET /auth/forward", "verifier", r, forwardedHeaders(r))
	}},
	// This is how Caddy asks if its configuration has no question mark:
	"/auth/forward with the client's query": {
		ask: func(b *testbed, r *proxies.Received) (bool, map[string]string, []string) {
			_, query, _ := strings.Cut(r.Target, "?")
			return b.askHTTP("GET /auth/forward?"+query, "verifier", r, forwardedHeaders(r))
		}},
	"/auth/static": {onlyProducts: true, hidesClient: true,
		ask: func(b *testbed, r *proxies.Received) (bool, map[string]string, []string) {
			if !isProductsRoute(r) {
				return false, nil, nil
			}
			return b.askHTTP("GET /auth/static?scope=products:read", "verifier", r, nil)
		}},
	"/auth/ngf": {hidesClient: true, ask: func(b *testbed, r *proxies.Received) (bool, map[string]string, []string) {
		return b.askHTTP("GET /auth/ngf", r.Host(), r, [][2]string{{"Path", r.Target}, {"Method", r.Method}})
	}},
	"/ext-authz": {tellsWhat: true, ask: func(b *testbed, r *proxies.Received) (bool, map[string]string, []string) {
		return b.askHTTP(r.Method+" /ext-authz"+r.Target, r.Host(), r, [][2]string{{"X-Forwarded-For", chain(r)}})
	}},
	"gRPC, headers": {tellsWhat: true, ask: func(b *testbed, r *proxies.Received) (bool, map[string]string, []string) {
		return b.askGRPC(r, nil, func(http *authv3.AttributeContext_HttpRequest) {
			http.Headers = map[string]string{":method": r.Method, ":path": r.Target, ":authority": r.Host()}
			for i, name := range r.Names {
				name = strings.ToLower(name)
				if name == "host" {
					continue
				}
				if earlier, ok := http.Headers[name]; ok {
					http.Headers[name] = earlier + "," + r.Contents[i]
				} else {
					http.Headers[name] = r.Contents[i]
				}
			}
		})
	}},
	"gRPC, header_map": {tellsWhat: true, ask: func(b *testbed, r *proxies.Received) (bool, map[string]string, []string) {
		return b.askGRPC(r, nil, everyLine(r))
	}},
	"gRPC, the scope in context_extensions": {tellsWhat: true, onlyProducts: true,
		ask: func(b *testbed, r *proxies.Received) (bool, map[string]string, []string) {
			if !isProductsRoute(r) {
				return false, nil, nil
			}
			return b.askGRPC(r, map[string]string{"scope": "products:read"}, everyLine(r))
		}},
}

// everyLine returns what puts every line of a request's header into a description of it by itself, as Envoy does with
// encode_raw_headers.
func everyLine(r *proxies.Received) func(*authv3.AttributeContext_HttpRequest) {
	return func(http *authv3.AttributeContext_HttpRequest) {
		http.HeaderMap = &corev3.HeaderMap{}
		for i, name := range r.Names {
			http.HeaderMap.Headers = append(http.HeaderMap.Headers,
				&corev3.HeaderValue{Key: strings.ToLower(name), RawValue: []byte(r.Contents[i])})
		}
	}
}

// productsRoute and productsHost are the route and the host of a proxy that asks whether a key has a fixed scope.
var (
	productsRoute = regexp.MustCompile(`^/api/products(/[A-Za-z0-9_-]+)*/?(\?[^#]*)?$`)
	productsHost  = regexp.MustCompile(`(?i)^api\.example\.com(:\d+)?$`)
)

func isProductsRoute(r *proxies.Received) bool {
	return r.Method == http.MethodGet && productsHost.MatchString(r.Host()) && productsRoute.MatchString(r.Target) &&
		!strings.HasPrefix(strings.ToLower(r.Target), "/api/products/export")
}

// askGRPC asks like Envoy, and returns what the answer says about the request's headers.
func (b *testbed) askGRPC(r *proxies.Received, extensions map[string]string,
	describe func(*authv3.AttributeContext_HttpRequest)) (pass bool, set map[string]string, remove []string) {
	description := &authv3.AttributeContext_HttpRequest{Method: r.Method, Path: r.Target, Host: r.Host(), Scheme: "http",
		Protocol: "HTTP/1.1"}
	describe(description)
	socket := &corev3.SocketAddress{Address: clientAddress}
	source := &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: socket}}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	response, err := authv3.NewAuthorizationClient(b.envoy).Check(ctx,
		&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			Source:            &authv3.AttributeContext_Peer{Address: source},
			Request:           &authv3.AttributeContext_Request{Http: description},
			ContextExtensions: extensions,
		}})
	ok := response.GetOkResponse()
	if err != nil || ok == nil {
		return false, nil, nil
	}
	set = map[string]string{}
	for _, option := range ok.GetHeaders() {
		set[strings.ToLower(option.GetHeader().GetKey())] = option.GetHeader().GetValue()
	}
	return true, set, ok.GetHeadersToRemove()
}

func forwardedHeaders(r *proxies.Received) [][2]string {
	return [][2]string{
		{"X-Forwarded-Method", r.Method}, {"X-Forwarded-Host", r.Host()}, {"X-Forwarded-Uri", r.Target}, {"X-Forwarded-For",
			chain(r)},
	}
}

// chain returns X-Forwarded-For with the client's address after what the client itself claims.
func chain(r *proxies.Received) string {
	return strings.Join(append(r.Values("x-forwarded-for"), clientAddress), ", ")
}

// ownHeaders are the headers that are for the next hop only, or that describe the body.
var ownHeaders = []string{
	"host", "connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "content-length",
	"transfer-encoding", "expect",
}

// configured are headers that the guides' configurations replace or remove, except for proxies that the verifier names
// them to.
var configured = append([]string{"x-forwarded-for", "x-forwarded-host"}, misleading...)

// behind returns a function that sends a case to a proxy of the surface's kind. It asks about each request of a
// connection up to the first that can't be parsed.
func (s surface) behind(
	t *testing.T, b *testbed, up *proxies.Upstream,
) func(context.Context, []byte, time.Duration) error {
	t.Helper()
	return func(_ context.Context, raw []byte, _ time.Duration) error {
		in := bufio.NewReaderSize(bytes.NewReader(raw), 1<<20)
		for {
			head, err := proxies.ReadHead(in)
			if err != nil {
				return nil
			}
			r := proxies.Parse(head)
			if r.Broken != "" || proxies.SkipBody(in, r) != nil {
				return nil // Every serious proxy refuses what it can't parse, RFC 9112 section 2.2.
			}
			if pass, set, remove := s.ask(b, r); pass {
				up.Note(proxies.Parse(s.forward(r, set, remove)))
			}
		}
	}
}

// forward returns a request as the proxy passes it on: unchanged, except for the identity headers.
func (s surface) forward(r *proxies.Received, set map[string]string, remove []string) []byte {
	head := bytes.NewBufferString(r.Method + " " + r.Target + " HTTP/1.1\r\nHost: " + r.Host() + "\r\n")
	nominated := strings.Split(strings.ToLower(strings.ReplaceAll(strings.Join(r.Values("connection"), ","), " ", "")),
		",")
	for i, name := range r.Names {
		lower := strings.ToLower(name)
		if _, replaced := set[lower]; replaced || slices.Contains(ownHeaders, lower) || slices.Contains(remove, lower) ||
			slices.Contains(nominated, lower) || lower == "x-forwarded-for" ||
			slices.Contains(configured, strings.ReplaceAll(lower, "_", "-")) && !s.tellsWhat ||
			strings.Contains(name, "_") && !s.tellsWhat {
			continue
		}
		head.WriteString(name + ": " + r.Contents[i] + "\r\n")
	}
	for name, value := range set {
		if !slices.Contains(nominated, name) {
			head.WriteString(name + ": " + value + "\r\n")
		}
	}
	head.WriteString("\r\n")
	return head.Bytes()
}

// askHTTP asks with a request that has all headers of the client, except those that the proxy sets itself.
func (b *testbed) askHTTP(line, host string, r *proxies.Received, own [][2]string) (pass bool, set map[string]string,
	remove []string) {
	head := bytes.NewBufferString(line + " HTTP/1.1\r\nHost: " + host + "\r\n")
	taken := map[string]bool{}
	for _, header := range own {
		taken[strings.ToLower(header[0])] = true
		head.WriteString(header[0] + ": " + header[1] + "\r\n")
	}
	for i, name := range r.Names {
		// Connection is passed on, which most proxies don't do: the verifier must read it if it gets it.
		if lower := strings.ToLower(name); lower == "connection" || !taken[lower] && !slices.Contains(ownHeaders, lower) {
			head.WriteString(name + ": " + r.Contents[i] + "\r\n")
		}
	}
	head.WriteString("\r\n")
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: timeout}, "tcp", b.Verifier.HTTP,
		b.authority.Trust(authority.VerifierName))
	if err != nil {
		return false, nil, nil
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(timeout))
	go func() { _, _ = conn.Write(head.Bytes()) }() // The verifier may answer before it has read everything.
	method, _, _ := strings.Cut(line, " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return false, nil, nil
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return false, nil, nil
	}
	set = map[string]string{}
	for name := range (caller{}).identity() {
		set[name] = response.Header.Get(name)
	}
	return true, set, strings.Split(strings.ToLower(response.Header.Get("X-Envoy-Auth-Headers-To-Remove")), ",")
}
