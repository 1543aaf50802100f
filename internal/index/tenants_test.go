package index_test

import (
	"encoding/hex"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
)

func tenantID(t testing.TB, s string) index.TenantID {
	t.Helper()
	id, ok := index.ParseTenantID(s)
	if !ok {
		t.Fatalf("%q can't be read", s)
	}
	return id
}

func TestParseTenantID(t *testing.T) {
	const canonical = "3714240b-2e06-4c35-8856-ccc1c096323e"
	for name, test := range map[string]struct {
		text string
		want string // blank where it is refused
	}{
		"lower case":                 {canonical, canonical},
		"upper case":                 {strings.ToUpper(canonical), canonical},
		"mixed case":                 {"3714240B-2e06-4C35-8856-ccc1c096323E", canonical},
		"zeros":                      {"00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000000"},
		"ones":                       {"ffffffff-ffff-ffff-ffff-ffffffffffff", "ffffffff-ffff-ffff-ffff-ffffffffffff"},
		"every digit":                {"01234567-89ab-cdef-ABCD-EF0123456789", "01234567-89ab-cdef-abcd-ef0123456789"},
		"nothing":                    {"", ""},
		"too short":                  {canonical[:35], ""},
		"too long":                   {canonical + "0", ""},
		"no hyphens":                 {strings.ReplaceAll(canonical, "-", ""), ""},
		"no hyphens, as long":        {strings.Repeat("0", 36), ""},
		"nothing but hyphens":        {strings.Repeat("-", 36), ""},
		"braces":                     {"{" + canonical + "}", ""},
		"a URN":                      {"urn:uuid:" + canonical, ""},
		"a leading space":            {" " + canonical[:35], ""},
		"a trailing space":           {canonical[:35] + " ", ""},
		"two, joined":                {canonical + "," + canonical, ""},
		"a letter too far":           {"g714240b-2e06-4c35-8856-ccc1c096323e", ""},
		"a letter too far, at end":   {"3714240b-2e06-4c35-8856-ccc1c096323g", ""},
		"just below 0":               {"/714240b-2e06-4c35-8856-ccc1c096323e", ""},
		"just above 9":               {":714240b-2e06-4c35-8856-ccc1c096323e", ""},
		"just below A":               {"@714240b-2e06-4c35-8856-ccc1c096323e", ""},
		"just below a":               {"`714240b-2e06-4c35-8856-ccc1c096323e", ""},
		"a hyphen moved":             {"3714240-b2e06-4c35-8856-ccc1c096323e", ""},
		"an underscore":              {"3714240b_2e06-4c35-8856-ccc1c096323e", ""},
		"one hyphen more at start":   {"-714240b-2e06-4c35-8856-ccc1c096323e", ""},
		"one hyphen more at an end":  {"3714240b-2e06-4c35-8856-ccc1c096323-", ""},
		"one hyphen more in the end": {"3714240b-2e06-4c35-8856-cc-1c096323e", ""},
		"one hyphen more, between":   {"3714240b-2e06-4c35-8856-ccc1c09632-e", ""},
		"two hyphens side by side":   {"3714240b--e06-4c35-8856-ccc1c096323e", ""},
		"NUL":                        {"3714240b-2e06-4c35-8856-ccc1c09632\x00e", ""},
		"full-width digits":          {"３14240b-2e06-4c35-8856-ccc1c096323e", ""},
	} {
		t.Run(name, func(t *testing.T) {
			id, ok := index.ParseTenantID(test.text)
			switch {
			case ok != (test.want != ""):
				t.Errorf("read: %t", ok)
			case ok && id.String() != test.want:
				t.Errorf("read as %s", id)
			case !ok && id != index.TenantID{}:
				t.Errorf("half of it was read: %s", id)
			}
		})
	}
}

// TestSpelled checks IDs in which a single letter is in upper case.
func TestSpelled(t *testing.T) {
	const text = "abcdefab-cdef-abcd-efab-cdefabcdefab"
	id := tenantID(t, text)
	for i := range text {
		as := text[:i] + strings.ToUpper(text[i:i+1]) + text[i+1:]
		if got := id.Spelled(as); got != text {
			t.Errorf("%s for %s", got, as)
		}
	}
	if allocations := testing.AllocsPerRun(100, func() { id.Spelled(text) }); allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

var canonicalUUID = regexp.MustCompile(`\A[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\z`)

func FuzzParseTenantID(f *testing.F) {
	for _, seed := range []string{
		"3714240b-2e06-4c35-8856-ccc1c096323e",
		"3714240B-2E06-4C35-8856-CCC1C096323E",
		"3714240b-2e06-4c35-8856-cc-1c096323e",
		"3714240b-2e06-4c35-8856-ccc1c09632-e",
		"3714240b2e064c358856ccc1c096323e",
		"{3714240b-2e06-4c35-8856-ccc1c096323e}",
		"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := index.ParseTenantID(s)
		if ok != canonicalUUID.MatchString(s) {
			t.Fatalf("%q is read: %t", s, ok)
		}
		if !ok {
			return
		}
		if id.String() != strings.ToLower(s) {
			t.Errorf("%q is read as %s", s, id)
		}
		if id.Spelled(s) != strings.ToLower(s) {
			t.Errorf("%q is spelled %s", s, id.Spelled(s))
		}
		if raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", "")); err != nil || string(raw) != string(id[:]) {
			t.Errorf("%q is read as %x", s, id[:])
		}
	})
}

func FuzzTenantIDString(f *testing.F) {
	f.Add([]byte("0123456789abcdef"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var id index.TenantID
		copy(id[:], raw)
		if again, ok := index.ParseTenantID(id.String()); !ok || again != id {
			t.Errorf("%s is read as %s", id, again)
		}
	})
}

// TestTenantsWithOneID checks that each of several Tenant objects with the same ID can restrict what the others allow,
// whatever their order.
func TestTenantsWithOneID(t *testing.T) {
	id, other := tenantID(t, "3714240b-2e06-4c35-8856-ccc1c096323e"), index.TenantID{1}
	allowing := func(suspended bool, cidrs ...keysv1alpha1.CIDR) index.Tenant {
		return index.Tenant{Suspended: suspended, Allowlists: []index.Allowlist{index.NewAllowlist(cidrs)}}
	}
	for name, test := range map[string]struct {
		objects   []index.Tenant
		suspended bool
		allowed   bool // 10.1.2.3
	}{
		"one":            {[]index.Tenant{allowing(false, "10.0.0.0/8")}, false, true},
		"both allow":     {[]index.Tenant{allowing(false, "10.0.0.0/8"), allowing(false, "10.1.0.0/16")}, false, true},
		"one allows any": {[]index.Tenant{allowing(false), allowing(false, "10.0.0.0/8")}, false, true},
		"one allows another": {
			[]index.Tenant{allowing(false, "10.0.0.0/8"), allowing(false, "192.0.2.0/24")}, false, false,
		},
		"one of three": {
			[]index.Tenant{allowing(false), allowing(false, "192.0.2.0/24"), allowing(false)}, false, false,
		},
		"one is suspended":      {[]index.Tenant{allowing(true), allowing(false)}, true, true},
		"both are suspended":    {[]index.Tenant{allowing(true), allowing(true)}, true, true},
		"the last is suspended": {[]index.Tenant{allowing(false), allowing(false), allowing(true)}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			reversed := slices.Clone(test.objects)
			slices.Reverse(reversed)
			for _, objects := range [][]index.Tenant{test.objects, reversed} {
				tenants := index.Tenants{}
				tenants.Add(other, index.Tenant{Suspended: true})
				for _, object := range objects {
					tenants.Add(id, object)
				}
				tenant := tenants[id]
				if tenant.Suspended != test.suspended {
					t.Errorf("suspended: %t", tenant.Suspended)
				}
				allowed := true
				for _, list := range tenant.Allowlists {
					allowed = allowed && list.Allows(netip.MustParseAddr("10.1.2.3"))
				}
				if allowed != test.allowed {
					t.Errorf("allowed: %t", allowed)
				}
				if len(tenants) != 2 {
					t.Errorf("%d tenants", len(tenants))
				}
			}
		})
	}
}

func TestEmptyViewIsEmpty(t *testing.T) {
	view := index.NewView()
	if _, ok := view.Tenant(index.TenantID{}); ok || view.TenantCount() != 0 {
		t.Error("there is a tenant")
	}
	if d := nthDigest(1); view.Credentials.Lookup(&d, nil, &index.Grant{}) != nil || view.Credentials.Len() != 0 {
		t.Error("there is a credential")
	}
	if _, ok := view.Routes().Route("api.example.com", "GET", "/"); ok || view.Routes().HasAnonymous() {
		t.Error("there is a route")
	}
}
