package token_test

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/token"
)

const uid = "6a2f5b5e-8f0f-4f35-9d0a-0c5c4f3f1d11"

func root(t testing.TB, fill byte) token.Root {
	t.Helper()
	r, err := token.RootFrom(bytes.Repeat([]byte{fill}, token.RootLength))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func derive(t testing.TB, r token.Root, format token.Format, uid, id string) token.Token {
	t.Helper()
	tok, err := token.Derive(r, format, uid, id)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// base62 is a second opinion on the encoding: math/big writes lower-case letters before upper-case ones, we the
// reverse.
func base62(number *big.Int, width int) string {
	text := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, number.Text(62))
	return strings.Repeat("0", width-len(text)) + text
}

// TestDeriveIsTheContract compares tokens with their definition, computed in another way. It fails if any part of
// token.Derive changes, which would invalidate every key ever minted (S4).
func TestDeriveIsTheContract(t *testing.T) {
	key := bytes.Repeat([]byte{7}, token.RootLength)
	secret, err := hkdf.Key(sha256.New, key, nil, "keys.nexuscommerce.io/token/v1/"+uid+"7Hk2PqZx", 32)
	if err != nil {
		t.Fatal(err)
	}
	body := "nxc_live_7Hk2PqZx" + base62(new(big.Int).SetBytes(secret), 43)
	want := body + base62(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(body)))), 6)

	got := derive(t, root(t, 7), token.FormatLive, uid, "7Hk2PqZx")
	if got.Reveal() != want {
		t.Error("the derived token differs from its definition")
	}
	if want := token.Digest(sha256.Sum256([]byte(got.Reveal()))); got.Digest() != want {
		t.Errorf("digest %s, want %s", got.Digest(), want)
	}
	if got.Prefix() != "nxc_live_7Hk2PqZx" {
		t.Errorf("prefix %s", got.Prefix())
	}
	const pinned = "sha256:8338abcee09dc20bfb45ce92422acd09b04650e680c97570c6a8b603b8802807"
	if got.Digest().String() != pinned {
		t.Errorf("digest %s of the token for known inputs, want %s: tokens already minted would be lost",
			got.Digest(), pinned)
	}
}

func TestDeriveSeparates(t *testing.T) {
	base := derive(t, root(t, 1), token.FormatLive, uid, "00000000")
	for name, other := range map[string]token.Token{
		"another root":   derive(t, root(t, 2), token.FormatLive, uid, "00000000"),
		"another UID":    derive(t, root(t, 1), token.FormatLive, uid[:35]+"0", "00000000"),
		"another id":     derive(t, root(t, 1), token.FormatLive, uid, "00000001"),
		"another format": derive(t, root(t, 1), token.FormatTest, uid, "00000000"),
	} {
		if other.Digest() == base.Digest() {
			t.Errorf("%s gives the same token", name)
		}
	}
	if again := derive(t, root(t, 1), token.FormatLive, uid, "00000000"); again.Digest() != base.Digest() {
		t.Error("the same inputs give another token")
	}
}

func TestDeriveRefuses(t *testing.T) {
	for name, in := range map[string]struct {
		format  token.Format
		uid, id string
	}{
		"no UID":            {token.FormatLive, "", "00000000"},
		"short id":          {token.FormatLive, uid, "0000000"},
		"id not base62":     {token.FormatLive, uid, "0000000-"},
		"empty format":      {"", uid, "00000000"},
		"format's end":      {"nxc_live", uid, "00000000"},
		"format's letters":  {"nxc-live_", uid, "00000000"},
		"format too long":   {token.Format(strings.Repeat("a", 32) + "_"), uid, "00000000"},
		"format one letter": {"_", uid, "00000000"},
	} {
		if _, err := token.Derive(root(t, 1), in.format, in.uid, in.id); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, key := range map[string][]byte{"short": make([]byte, 31), "long": make([]byte, 33),
		"zeros": make([]byte, 32)} {
		if _, err := token.RootFrom(key); err == nil {
			t.Errorf("root key, %s: no error", name)
		}
	}
	if _, err := token.NewRoot(bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("a root key from too few random bytes: no error")
	}
}

func TestShape(t *testing.T) {
	scanner := regexp.MustCompile(`^nxc_(live|test)_[0-9A-Za-z]{57}$`)
	for range 200 {
		r, err := token.NewRoot(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		id, err := token.NewID(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for _, format := range []token.Format{token.FormatLive, token.FormatTest} {
			tok := derive(t, r, format, uid, id)
			if !scanner.MatchString(tok.Reveal()) || len(tok.Reveal()) != 66 {
				t.Fatal("a token that secret scanners don't recognise")
			}
			if parsed, err := token.Parse(tok.Reveal()); err != nil || parsed != tok {
				t.Fatalf("a token that doesn't parse: %v", err)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := derive(t, root(t, 7), token.FormatLive, uid, "7Hk2PqZx").Reveal()
	for i := range len(good) {
		for _, replacement := range "0aZ_-. \x00é" {
			bad := good[:i] + string(replacement) + good[i+1:]
			if bad == good {
				continue
			}
			if _, err := token.Parse(bad); err == nil {
				t.Errorf("byte %d replaced by %q: no error", i, replacement)
			}
		}
	}
	for name, bad := range map[string]string{
		"empty":         "",
		"cut":           good[:65],
		"extended":      good + "0",
		"prefix only":   "nxc_live_",
		"swapped":       good[:20] + good[21:22] + good[20:21] + good[22:],
		"other format":  "nxc_test_" + good[9:],
		"no format":     good[9:],
		"very long":     strings.Repeat("a", 1<<20),
		"leading space": " " + good,
	} {
		if _, err := token.Parse(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestNewIDIsUniform(t *testing.T) {
	// Every digit has the same share of the bytes, because the bytes that would break the tie are skipped.
	seen := map[string]int{}
	for b := range 256 {
		id, err := token.NewID(bytes.NewReader(bytes.Repeat([]byte{byte(b)}, 64)))
		if err == nil {
			seen[id]++
		}
	}
	if len(seen) != 62 {
		t.Errorf("%d different digits, want 62", len(seen))
	}
	for id, n := range seen {
		if n != 4 {
			t.Errorf("id %s comes from %d bytes, want 4", id, n)
		}
	}
	if _, err := token.NewID(bytes.NewReader(nil)); err == nil {
		t.Error("no randomness: no error")
	}
	if _, err := token.NewID(bytes.NewReader(bytes.Repeat([]byte{255}, 64))); err == nil {
		t.Error("only bytes that must be skipped: no error")
	}
}

func TestDigest(t *testing.T) {
	d := derive(t, root(t, 7), token.FormatLive, uid, "7Hk2PqZx").Digest()
	if parsed, err := token.ParseDigest(d.String()); err != nil || parsed != d {
		t.Errorf("ParseDigest(%s) = %s, %v", d, parsed, err)
	}
	for _, bad := range []string{"", "sha256:", d.String()[7:], d.String() + "00", "sha256:" + strings.Repeat("g", 64),
		"sha512:" + d.String()[7:]} {
		if _, err := token.ParseDigest(bad); err == nil {
			t.Errorf("ParseDigest(%q): no error", bad)
		}
	}
	if id := d.ID(); len(id) != token.IDLength || id != d.ID() {
		t.Errorf("id %q of a digest", id)
	}
	long := strings.Repeat("x", 500)
	if token.DigestOf(long) != token.Digest(sha256.Sum256([]byte(long))) {
		t.Error("digest of a long text")
	}
}

// TestRedacted fails if String, GoString or MarshalText of Token or Root is removed (S2).
func TestRedacted(t *testing.T) {
	r := root(t, 'k')
	tok := derive(t, r, token.FormatLive, uid, "7Hk2PqZx")
	marshalled, err := json.Marshal(map[string]any{"token": tok})
	if err != nil {
		t.Fatal(err)
	}
	out := string(marshalled)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		out += fmt.Sprintf(verb, tok) + fmt.Sprintf(verb, struct{ T token.Token }{tok}) + fmt.Sprintf(verb,
			r) + fmt.Sprintf(verb, &r)
	}
	if strings.Contains(out, tok.Reveal()) || strings.Contains(out, "kkkk") || strings.Contains(out, "107 107") {
		t.Error("a token or root key shows when printed")
	}
}

func TestNoAllocations(t *testing.T) {
	good := derive(t, root(t, 7), token.FormatLive, uid, "7Hk2PqZx").Reveal()
	if n := testing.AllocsPerRun(100, func() {
		parsed, err := token.Parse(good)
		if err != nil || parsed.Digest() == (token.Digest{}) {
			t.Error("not parsed")
		}
	}); n != 0 {
		t.Errorf("%v allocations to parse and digest a token", n)
	}
}

func FuzzParse(f *testing.F) {
	good := derive(f, root(f, 7), token.FormatLive, uid, "7Hk2PqZx").Reveal()
	for _, seed := range []string{good, good[:65], good + "0", "", "nxc_live_", "nxc_test_" + strings.Repeat("0", 57),
		strings.Repeat("_", 66)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := token.Parse(s)
		if err != nil {
			return
		}
		body, sum := s[:len(s)-6], s[len(s)-6:]
		if sum != base62(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(body)))), 6) {
			t.Error("accepted with a wrong checksum")
		}
		if tok.Reveal() != s || !strings.HasPrefix(s, tok.Prefix()) {
			t.Error("changed by parsing")
		}
	})
}

func BenchmarkParse(b *testing.B) {
	good := derive(b, root(b, 7), token.FormatLive, uid, "7Hk2PqZx").Reveal()
	for name, text := range map[string]string{"good": good, "malformed": good[:65] + "_",
		"checksum": good[:30] + "0" + good[31:]} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = token.WellFormed(text)
			}
		})
	}
}
