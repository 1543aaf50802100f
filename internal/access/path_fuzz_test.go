package access_test

import (
	"fmt"
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/nexuscommerce/apikey-operator/internal/access"
)

func FuzzCanonicalPath(f *testing.F) {
	for _, seed := range []string{"/", "/api/%70roducts/7?a=b", "/caf%C3%A9/", "/a%20b",
		"/-._~!$&'()*+,=:@x", "/v1.2/a..b"} {
		f.Add(seed)
	}
	for _, targets := range refused {
		for _, target := range targets {
			f.Add(target)
		}
	}
	f.Fuzz(func(t *testing.T, target string) {
		got, ok := access.CanonicalPath(target)
		if !ok {
			if got != "" {
				t.Fatalf("a refused path comes as %q", got)
			}
			return
		}
		raw, query, _ := strings.Cut(target, "?")
		checkReading(t, target, raw, got)
		checkSegments(t, got)
		if strings.ContainsAny(raw, `\;#`) || strings.ContainsAny(query, "# \r\n\t\x00") || len(target) > 8192 {
			t.Errorf("%q is let through", target)
		}
		if again, ok := access.CanonicalPath(encode(got)); !ok || again != got {
			// Encoding may make it too long.
			if len(encode(got)) <= 8192 {
				t.Errorf("%q becomes %q, and encoded again %q, %t", target, got, again, ok)
			}
		}
	})
}

// checkReading compares how a target is read with how the standard library reads it.
func checkReading(t *testing.T, target, raw, got string) {
	t.Helper()
	if unescaped, err := url.PathUnescape(raw); err != nil || unescaped != got {
		t.Errorf("%q becomes %q, and net/url makes it %q, %v", target, got, unescaped, err)
	}
	if u, err := url.ParseRequestURI(target); err != nil || u.Path != got || u.Host != "" || u.Scheme != "" {
		t.Errorf("%q becomes %q, and net/url parses %+v, %v", target, got, u, err)
	}
	// Decoding twice, as some do, has to give the same.
	if twice, err := url.PathUnescape(got); err != nil || twice != got {
		t.Errorf("%q becomes %q, and decoded twice %q, %v", target, got, twice, err)
	}
}

// checkSegments checks that a path is in its shortest form, however it is read.
func checkSegments(t *testing.T, got string) {
	t.Helper()
	if got == "" || got[0] != '/' || !utf8.ValidString(got) {
		t.Fatalf("%q is no path", got)
	}
	if strings.Contains(got, "//") || strings.ContainsAny(got, `\;%?#`) || strings.ContainsFunc(got, unicode.IsControl) {
		t.Errorf("%q is let through", got)
	}
	trimmed := strings.TrimSuffix(got, "/")
	if trimmed != "" && path.Clean(got) != trimmed {
		t.Errorf("%q is cleaned to %q", got, path.Clean(got))
	}
	for segment := range strings.SplitSeq(trimmed, "/") {
		if strings.HasSuffix(segment, ".") || strings.TrimSpace(segment) != segment {
			t.Errorf("%q has the segment %q", got, segment)
		}
	}
}

// encode escapes every byte of a path except slashes, dots and letters.
func encode(p string) string {
	var encoded strings.Builder
	for _, c := range []byte(p) {
		if c == '/' || c == '.' || (c >= 'a' && c <= 'z') {
			encoded.WriteByte(c)
		} else {
			fmt.Fprintf(&encoded, "%%%02X", c)
		}
	}
	return encoded.String()
}
