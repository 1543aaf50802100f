package verify_test

import (
	"strings"
	"testing"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

func TestAuthorization(t *testing.T) {
	for name, test := range map[string]struct {
		values []string
		reason verify.Reason
	}{
		"as it should be":           {[]string{"Bearer " + acmeKey}, verify.ReasonAllowed},
		"lower case":                {[]string{"bearer " + acmeKey}, verify.ReasonAllowed},
		"upper case":                {[]string{"BEARER " + acmeKey}, verify.ReasonAllowed},
		"mixed case":                {[]string{"bEaReR " + acmeKey}, verify.ReasonAllowed},
		"several spaces":            {[]string{"Bearer    " + acmeKey}, verify.ReasonAllowed},
		"nothing":                   {nil, verify.ReasonNoCredentials},
		"an empty value":            {[]string{""}, verify.ReasonNoCredentials},
		"a space":                   {[]string{" "}, verify.ReasonNoCredentials},
		"another scheme":            {[]string{"Basic YTpi"}, verify.ReasonNoCredentials},
		"another scheme with a key": {[]string{"Token " + acmeKey}, verify.ReasonNoCredentials},
		"no scheme":                 {[]string{acmeKey}, verify.ReasonNoCredentials},
		"Bearer alone":              {[]string{"Bearer"}, verify.ReasonMalformedToken},
		"Bearer and a space":        {[]string{"Bearer "}, verify.ReasonMalformedToken},
		"a shorter scheme":          {[]string{"Beare " + acmeKey}, verify.ReasonNoCredentials},
		"a longer scheme":           {[]string{"BearerX " + acmeKey}, verify.ReasonNoCredentials},
		"no space":                  {[]string{"Bearer" + acmeKey}, verify.ReasonNoCredentials},
		"a tab":                     {[]string{"Bearer\t" + acmeKey}, verify.ReasonNoCredentials},
		"a space and a tab":         {[]string{"Bearer \t" + acmeKey}, verify.ReasonMalformedToken},
		"a colon":                   {[]string{"Bearer: " + acmeKey}, verify.ReasonNoCredentials},
		"a leading space":           {[]string{" Bearer " + acmeKey}, verify.ReasonNoCredentials},
		"a trailing space":          {[]string{"Bearer " + acmeKey + " "}, verify.ReasonMalformedToken},
		"a folded letter":           {[]string{"\u212aearer " + acmeKey}, verify.ReasonNoCredentials},
		"twice in one value":        {[]string{"Bearer Bearer " + acmeKey}, verify.ReasonMalformedToken},
		"two tokens in one value":   {[]string{"Bearer " + acmeKey + " " + acmeKey}, verify.ReasonMalformedToken},
		"quoted":                    {[]string{`Bearer "` + acmeKey + `"`}, verify.ReasonMalformedToken},
		"joined with itself": {[]string{"Bearer " + acmeKey + ", Bearer " + acmeKey},
			verify.ReasonDuplicateCredentials},
		"joined with another scheme": {[]string{"Basic YTpi, Bearer " + acmeKey}, verify.ReasonDuplicateCredentials},
		"joined with nothing":        {[]string{"Bearer " + acmeKey + ","}, verify.ReasonDuplicateCredentials},
		"two values": {[]string{"Bearer " + acmeKey, "Bearer " + unknownKey},
			verify.ReasonDuplicateCredentials},
		"two values, the same":     {[]string{"Bearer " + acmeKey, "Bearer " + acmeKey}, verify.ReasonDuplicateCredentials},
		"two values, one blank":    {[]string{"", "Bearer " + acmeKey}, verify.ReasonDuplicateCredentials},
		"two values, other scheme": {[]string{"Bearer " + acmeKey, "Basic YTpi"}, verify.ReasonDuplicateCredentials},
	} {
		t.Run(name, func(t *testing.T) {
			wantReason(t, decideAfter(func(s *scene) { s.request.Authorization = test.values }), test.reason)
		})
	}
}

func TestToken(t *testing.T) {
	for name, test := range map[string]struct {
		token  string
		reason verify.Reason
	}{
		"as it should be":      {acmeKey, verify.ReasonAllowed},
		"one character less":   {acmeKey[:len(acmeKey)-1], verify.ReasonMalformedToken},
		"one character more":   {acmeKey + "0", verify.ReasonMalformedToken},
		"a typo":               {strings.Replace(acmeKey, "AcmeKey1", "AcmeKex1", 1), verify.ReasonMalformedToken},
		"another format":       {strings.Replace(acmeKey, "_live_", "_test_", 1), verify.ReasonMalformedToken},
		"upper case":           {strings.ToUpper(acmeKey), verify.ReasonMalformedToken},
		"NUL":                  {acmeKey + "\x00", verify.ReasonMalformedToken},
		"very long":            {strings.Repeat("a", 1<<16), verify.ReasonMalformedToken},
		"another, well formed": {unknownKey, verify.ReasonUnknownToken},
		"its prefix":           {acmeKey[:17], verify.ReasonMalformedToken},
		"its digest": {"sha256:8338abcee09dc20bfb45ce92422acd09b04650e680c97570c6a8b603b8802807",
			verify.ReasonMalformedToken},
		"something of the kind": {"eyJhbGciOiJIUzI1NiJ9.e30.ZRrHA1JJJW8opsbCGfG_HACGpVUMN_a9IV7pAx_Zmeo",
			verify.ReasonMalformedToken},
	} {
		t.Run(name, func(t *testing.T) {
			wantReason(t, decideAfter(func(s *scene) { s.request.Authorization = bearer(test.token) }), test.reason)
		})
	}
}

func TestTenantHeader(t *testing.T) {
	for name, test := range map[string]struct {
		values []string
		reason verify.Reason
	}{
		"as it should be":     {[]string{acme}, verify.ReasonAllowed},
		"upper case":          {[]string{strings.ToUpper(acme)}, verify.ReasonAllowed},
		"nothing":             {nil, verify.ReasonTenantMissing},
		"an empty value":      {[]string{""}, verify.ReasonTenantMissing},
		"a space":             {[]string{" "}, verify.ReasonTenantMalformed},
		"two":                 {[]string{acme, globex}, verify.ReasonTenantMalformed},
		"two, the same":       {[]string{acme, acme}, verify.ReasonTenantMalformed},
		"two, one blank":      {[]string{"", acme}, verify.ReasonTenantMalformed},
		"two, both blank":     {[]string{"", ""}, verify.ReasonTenantMalformed},
		"joined":              {[]string{acme + "," + globex}, verify.ReasonTenantMalformed},
		"joined with a space": {[]string{acme + ", " + acme}, verify.ReasonTenantMalformed},
		"joined with nothing": {[]string{acme + ","}, verify.ReasonTenantMalformed},
		"no UUID":             {[]string{"acme"}, verify.ReasonTenantMalformed},
		"without hyphens":     {[]string{strings.ReplaceAll(acme, "-", "")}, verify.ReasonTenantMalformed},
		"one hyphen too many": {[]string{"3714240b-2e06-4c35-8856-cc-1c096323e"}, verify.ReasonTenantMalformed},
		"in braces":           {[]string{"{" + acme + "}"}, verify.ReasonTenantMalformed},
		"a space around it":   {[]string{" " + acme}, verify.ReasonTenantMalformed},
		"another tenant's":    {[]string{globex}, verify.ReasonWrongTenant},
		"one that nobody has": {[]string{"00000000-0000-0000-0000-000000000000"}, verify.ReasonWrongTenant},
	} {
		t.Run(name, func(t *testing.T) {
			wantReason(t, decideAfter(func(s *scene) { s.request.TenantID = test.values }), test.reason)
		})
	}
}

// TestConnection fails without the lines `if request.nominates() { … }` in Decide (S10).
func TestConnection(t *testing.T) {
	refused := verify.ReasonHeaderNominated
	for name, test := range map[string]struct {
		values []string
		reason verify.Reason
	}{
		"nothing":                 {nil, verify.ReasonAllowed},
		"an empty value":          {[]string{""}, verify.ReasonAllowed},
		"close":                   {[]string{"close"}, verify.ReasonAllowed},
		"an upgrade":              {[]string{"keep-alive, Upgrade"}, verify.ReasonAllowed},
		"another header":          {[]string{"X-Custom"}, verify.ReasonAllowed},
		"a longer name":           {[]string{"X-Tenant-ID-Other, Proxy-Authorization, Authorization2"}, verify.ReasonAllowed},
		"a shorter name":          {[]string{"X-Tenant, X-Api-Key, Auth"}, verify.ReasonAllowed},
		"Authorization":           {[]string{"Authorization"}, refused},
		"in lower case":           {[]string{"authorization"}, refused},
		"X-Tenant-ID":             {[]string{"X-Tenant-ID"}, refused},
		"in upper case":           {[]string{"X-TENANT-ID"}, refused},
		"an identity header":      {[]string{"X-Api-Key-Tenant"}, refused},
		"an identity header less": {[]string{"x-api-key-id"}, refused},
		"after others":            {[]string{"close, X-Tenant-ID"}, refused},
		"before others":           {[]string{"authorization,close"}, refused},
		"white space around it":   {[]string{"close \t,\t X-Tenant-ID\t "}, refused},
		"empty elements":          {[]string{",,X-Tenant-ID,,"}, refused},
		"in the second of two":    {[]string{"close", "Authorization"}, refused},
	} {
		t.Run(name, func(t *testing.T) {
			wantReason(t, decideAfter(func(s *scene) { s.request.Connection = test.values }), test.reason)
		})
	}
}

func TestAnonymousRoutes(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*scene)
		reason verify.Reason
	}{
		"no credentials": {func(s *scene) { s.request.Authorization, s.request.TenantID = nil, nil },
			verify.ReasonAnonymous},
		"no credentials, any client": {func(s *scene) {
			s.request = verify.Request{Host: host, Method: "OPTIONS",
				Target: "/public"}
		}, verify.ReasonAnonymous},
		"no credentials, any depth": {func(s *scene) { s.request.Authorization, s.request.Target = nil, "/public/a/b?c" },
			verify.ReasonAnonymous},
		"bad credentials": {func(s *scene) { s.request.Authorization = bearer("x") }, verify.ReasonAnonymous},
		"two credentials": {func(s *scene) {
			s.request.Authorization = append(bearer(acmeKey),
				bearer(acmeKey)...)
		}, verify.ReasonAnonymous},
		"an unknown key": {func(s *scene) { s.request.Authorization = bearer(unknownKey) },
			verify.ReasonAnonymous},
		"a revoked key":        {faultNamed("revoked"), verify.ReasonAnonymous},
		"an expired key":       {faultNamed("expired"), verify.ReasonAnonymous},
		"another tenant's key": {func(s *scene) { s.request.TenantID = []string{globex} }, verify.ReasonAnonymous},
		"a key not from here": {func(s *scene) { s.grant.Allowlists[0] = allow("192.0.2.0/24") },
			verify.ReasonAnonymous},
		"a valid key":                {func(*scene) {}, verify.ReasonAllowed},
		"a valid key without scopes": {func(s *scene) { s.grant.Granted, s.grant.Asked = nil, nil }, verify.ReasonAllowed},
		"elsewhere, no credentials": {func(s *scene) { s.request.Authorization, s.request.Target = nil, "/api/products" },
			verify.ReasonNoCredentials},
		"elsewhere, a key that may pass": {func(s *scene) { s.request.Target = "/api/products" }, verify.ReasonAllowed},
		"elsewhere, one that may not": {func(s *scene) { s.request.Target, s.request.Method = "/api/products", "POST" },
			verify.ReasonScopeMissing},
		"beside it": {func(s *scene) { s.request.Authorization, s.request.Target = nil, "/publicity" },
			verify.ReasonNoCredentials},
		"by an ambiguous path": {func(s *scene) { s.request.Authorization, s.request.Target = nil, "/public/../api" },
			verify.ReasonNoCredentials},
		"at another host": {func(s *scene) { s.request.Authorization, s.request.Host = nil, "www.example.com" },
			verify.ReasonNoCredentials},
		"with scopes fixed": {func(s *scene) {
			s.request.Authorization, s.request.FixedScopes = nil,
				scopes("a:b")
		}, verify.ReasonNoCredentials},
		"with no scopes fixed": {func(s *scene) {
			s.request.Authorization, s.request.FixedScopes = nil,
				[]keysv1alpha1.Scope{}
		}, verify.ReasonNoCredentials},
		"a header nominated": {faultNamed("header nominated"), verify.ReasonHeaderNominated},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			s.anonymous("/public")
			s.request.Target = "/public"
			test.change(s)
			got := s.decide()
			wantReason(t, got, test.reason)
			if test.reason == verify.ReasonAnonymous && (got.Grant.Known() || got.TenantID != "") {
				t.Error("an anonymous request got an identity")
			}
			if test.reason == verify.ReasonAllowed && (got.Grant != s.grant.Grant || got.TenantID != acme) {
				t.Error("a valid key got no identity")
			}
		})
	}
}

func faultNamed(name string) func(*scene) {
	for _, fault := range faults {
		if fault.name == name {
			return fault.cause
		}
	}
	panic(name)
}
