package main

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRedact(t *testing.T) {
	token := "nxc_live_7Hk2PqZx" + strings.Repeat("a", 49)
	for given, want := range map[string]string{
		"Authorization: Bearer " + token + "!":    "Authorization: Bearer nxc_live_7Hk2PqZx…!",
		"a prefix, nxc_live_7Hk2PqZx, stays":      "a prefix, nxc_live_7Hk2PqZx, stays",
		"token: eyJhbGciOiJS.eyJhdWQi.c2ln-_x,":   "token: …,",
		strings.ReplaceAll(token, "live", "test"): "nxc_test_7Hk2PqZx…",
	} {
		if got := redact(given); got != want {
			t.Errorf("redact(%q): expected %q, got %q", given, want, got)
		}
	}
}

func TestShell(t *testing.T) {
	got := shell("patch", "apikey", "-p", `{"spec":{}}`, "it's", "")
	if want := `patch apikey -p '{"spec":{}}' 'it'\''s' ''`; got != want {
		t.Errorf("expected %s, got %s", want, got)
	}
}

func TestExpectation(t *testing.T) {
	refused := expectation{status: 403, challenge: []string{`scope="products:write"`}}
	for name, test := range map[string]struct {
		want expectation
		got  answer
		ok   bool
	}{
		"as expected":       {refused, answer{status: 403, challenge: `Bearer scope="products:write"`}, true},
		"another status":    {refused, answer{status: 401, challenge: `Bearer scope="products:write"`}, false},
		"another challenge": {refused, answer{status: 403, challenge: `Bearer scope="orders:write"`}, false},
		"refused but passed on": {
			refused, answer{status: 403, challenge: `Bearer scope="products:write"`, upstream: []http.Header{{}}}, false,
		},
		"allowed":                {expectation{status: 200}, answer{status: 200, upstream: []http.Header{{}}}, true},
		"allowed, not passed on": {expectation{status: 200}, answer{status: 200}, false},
		"unwanted challenge":     {expectation{status: 403}, answer{status: 403, challenge: "Bearer"}, false},
		"unwanted error code": {
			expectation{status: 401, challenge: []string{"Bearer"}, noError: true},
			answer{status: 401, challenge: `Bearer error="x"`}, false,
		},
		"another body": {
			expectation{status: 403, body: []string{"wrong_tenant"}}, answer{status: 403, body: "{}"}, false,
		},
		"a body as it should be": {
			expectation{status: 403, body: []string{"wrong_tenant"}}, answer{status: 403, body: `{"reason":"wrong_tenant"}`},
			true,
		},
	} {
		if err := test.want.check(test.got); (err == nil) != test.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestRevocation(t *testing.T) {
	acknowledged := time.Unix(1_000_000, 0)
	at := acknowledged.Add
	for name, test := range map[string]struct {
		seen revocation
		ok   bool
	}{
		"within the bound": {revocation{
			acknowledged: acknowledged, lastAccepted: at(0), refused: at(5 * time.Millisecond),
		}, true},
		"before kubectl says so": {revocation{acknowledged: acknowledged, lastAccepted: at(-2), refused: at(-1)}, true},
		"too late": {
			revocation{acknowledged: acknowledged, lastAccepted: at(0), refused: at(2 * time.Second)}, false,
		},
		"accepted too long": {revocation{
			acknowledged: acknowledged, lastAccepted: at(2 * time.Second), refused: at(2 * time.Second),
		}, false},
		"never accepted":   {revocation{acknowledged: acknowledged, refused: at(1)}, false},
		"not acknowledged": {revocation{lastAccepted: at(0), refused: at(1)}, false},
	} {
		if err := test.seen.check(); (err == nil) != test.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestFreeAddresses(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	addr, ok := busy.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal(busy.Addr())
	}
	free, err := freeAddresses(addr.Port, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{busy.Addr().String(): true}
	for _, address := range free {
		if seen[address] || !strings.HasPrefix(address, "127.0.0.1:") {
			t.Errorf("expected free and different addresses on loopback, got %v", free)
		}
		seen[address] = true
	}
}
