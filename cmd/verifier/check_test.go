package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// answers serves the answers of a verifier one after the other, the last one forever.
func answers(t *testing.T, all ...string) (url, authority string) {
	t.Helper()
	var asked atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status, body, _ := strings.Cut(all[min(int(asked.Add(1)), len(all))-1], " ")
		var code int
		if _, err := fmt.Sscan(status, &code); err != nil {
			t.Error(err)
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	authority = filepath.Join(t.TempDir(), "ca.crt")
	content := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(authority, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return server.URL, authority
}

// TestCheck checks that only the answer of a verifier that is up to date ends the check well.
func TestCheck(t *testing.T) {
	const unknown, stale = `401 {"reason":"invalid_token","message":"m"}`, `403 {"reason":"unavailable","message":"m"}`
	for name, c := range map[string]struct {
		answers []string
		fault   string // Blank is none.
	}{
		"up to date":         {[]string{unknown}, ""},
		"soon up to date":    {[]string{stale, unknown}, ""},
		"stale":              {[]string{stale}, "unavailable"},
		"lets anybody pass":  {[]string{"200 {}"}, "answers 200 OK to a key that nobody has"},
		"something else":     {[]string{"401 <html>"}, "not as a verifier does"},
		"no token was asked": {[]string{`401 {"reason":"no_credentials"}`}, "no_credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, authority := answers(t, c.answers...)
			var out strings.Builder
			err := check(t.Context(), []string{"--url", url, "--ca-file", authority, "--timeout=1500ms"}, &out)
			switch {
			case c.fault == "" && (err != nil || !strings.Contains(out.String(), url)):
				t.Errorf("%v, %q", err, out.String())
			case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
				t.Errorf("%v, want %q", err, c.fault)
			}
		})
	}
}

// TestCheckTrustsNobodyElse checks that a verifier with another authority's certificate is not asked.
func TestCheckTrustsNobodyElse(t *testing.T) {
	url, _ := answers(t, `401 {"reason":"invalid_token"}`)
	err := check(t.Context(), []string{"--url", url, "--timeout=1500ms"}, &strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
	for _, arguments := range [][]string{
		{"--url", url, "--ca-file", filepath.Join(t.TempDir(), "missing")},
		{"--url", url, "--ca-file", os.Args[0]},
		{"--no-such-flag"},
	} {
		if err := check(t.Context(), arguments, &strings.Builder{}); err == nil {
			t.Errorf("%v is accepted", arguments)
		}
	}
}
