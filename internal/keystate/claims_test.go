package keystate_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

func TestRefusalOf(t *testing.T) {
	withdrawn := conditions(condition("Admitted", "False", "TenantChanged"))
	expired := conditions(condition("Expired", "True", "Expired"), condition("Admitted", "False", "TenantChanged"))
	for name, test := range map[string]struct {
		change keyChange
		want   keystate.Refusal
	}{
		"works": {unchanged, keystate.NotRefused},
		"stalled": {conditions(condition("Admitted", "False", "UnknownScope"),
			condition("Stalled", "True", "UnknownScope")), keystate.NotRefused},
		"not observed": {func(k *keysv1alpha1.ApiKey) { k.Generation++ }, keystate.NotRefused},
		"expired by the clock": {func(k *keysv1alpha1.ApiKey) { k.Status.ExpiresTime = at(-day) },
			keystate.NotRefused},
		"revoked by spec":             {inState(keysv1alpha1.ApiKeyRevoked), keystate.RefusedRevoked},
		"revoked by status":           {conditions(condition("Revoked", "True", "Revoked")), keystate.RefusedRevoked},
		"revoked and being deleted":   {allOf(inState(keysv1alpha1.ApiKeyRevoked), deleting), keystate.RefusedRevoked},
		"being deleted":               {deleting, keystate.RefusedDeleting},
		"suspended and being deleted": {allOf(inState(keysv1alpha1.ApiKeySuspended), deleting), keystate.RefusedDeleting},
		"suspended":                   {inState(keysv1alpha1.ApiKeySuspended), keystate.RefusedSuspended},
		"an unknown state":            {inState("Blocked"), keystate.RefusedSuspended},
		"no state":                    {inState(""), keystate.RefusedSuspended},
		"suspended and expired":       {allOf(inState(keysv1alpha1.ApiKeySuspended), expired), keystate.RefusedSuspended},
		"expired":                     {expired, keystate.RefusedExpired},
		"its tenant changed":          {withdrawn, keystate.RefusedWithdrawn},
	} {
		if got := keystate.RefusalOf(working(test.change)); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

func TestClaims(t *testing.T) {
	key := working(func(k *keysv1alpha1.ApiKey) {
		k.Status.Credentials[0].ValidUntil = at(day)
		k.Status.Credentials = append(k.Status.Credentials,
			keysv1alpha1.Credential{ID: "unread00", Digest: "sha256:damaged", IssuedTime: *at(0)},
			keysv1alpha1.Credential{ID: "newest00", Digest: "sha256:" + strings.Repeat("b", 64), IssuedTime: *at(-day)})
	})
	first, err := token.ParseDigest(key.Status.Credentials[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	claims := keystate.Claims(key)
	if len(claims) != 2 {
		t.Fatalf("%d claims", len(claims))
	}
	want := keystate.Claim{
		CredentialID: "7Hk2PqZx", Digest: first, Minted: true, TenantID: key.Status.TenantID,
		Created: now.Add(-10 * day), Issued: now.Add(-10 * day), NotAfter: now.Add(day), Expires: true,
		Granted: key.Status.Scopes, Asked: key.Spec.Scopes, GrantedCIDRs: key.Status.AllowedCIDRs,
		AskedCIDRs: key.Spec.AllowedCIDRs,
	}
	if !reflect.DeepEqual(claims[0], want) {
		t.Errorf("%+v\nwant\n%+v", claims[0], want)
	}
	if newest := claims[1]; newest.CredentialID != "newest00" || newest.Minted ||
		!newest.NotAfter.Equal(now.Add(80*day)) || !newest.Issued.Equal(now.Add(-day)) {
		t.Errorf("%+v", newest)
	}
}

func TestExpires(t *testing.T) {
	never := func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry, k.Status.ExpiresTime = keysv1alpha1.ExpiryNever, nil }
	for name, test := range map[string]struct {
		change     keyChange
		key        time.Duration
		credential time.Duration
	}{
		"granted and asked alike": {unchanged, 80 * day, 80 * day},
		"never":                   {never, 0, 0},
		"blank":                   {allOf(never, func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "" }), 0, 0},
		"granted for less":        {func(k *keysv1alpha1.ApiKey) { k.Status.ExpiresTime = at(day) }, day, day},
		"asked for less":          {func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "20d" }, 10 * day, 10 * day},
		"asked for more":          {func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "99d" }, 80 * day, 80 * day},
		"asked for ever, not granted": {func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = keysv1alpha1.ExpiryNever },
			80 * day, 80 * day},
		"asked for, not yet granted": {func(k *keysv1alpha1.ApiKey) { k.Status.ExpiresTime = nil }, 80 * day, 80 * day},
		"what can't be read":         {func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = "soon" }, -10 * day, -10 * day},
		"not issued": {func(k *keysv1alpha1.ApiKey) {
			k.Status.IssuedTime, k.Status.ExpiresTime = nil, nil
		}, 0, 0},
		"replaced": {func(k *keysv1alpha1.ApiKey) { k.Status.Credentials[0].ValidUntil = at(day) },
			80 * day, day},
		"replaced, beyond its expiry": {func(k *keysv1alpha1.ApiKey) { k.Status.Credentials[0].ValidUntil = at(99 * day) },
			80 * day, 80 * day},
		"replaced, without an expiry": {allOf(never,
			func(k *keysv1alpha1.ApiKey) { k.Status.Credentials[0].ValidUntil = at(day) }), 0, day},
		"expired before time was kept": {func(k *keysv1alpha1.ApiKey) { k.Status.ExpiresTime.Time = time.Time{} },
			time.Time{}.Sub(now), time.Time{}.Sub(now)},
	} {
		key := working(test.change)
		check := func(what string, got time.Time, expires bool, want time.Duration) {
			if expires != (want != 0) || expires && got.Sub(now) != want {
				t.Errorf("%s: the %s expires %t, %s, want in %s", name, what, expires, got, want)
			}
		}
		got, expires := keystate.Expires(key)
		check("key", got, expires, test.key)
		got, expires = keystate.CredentialExpires(key, &key.Status.Credentials[0])
		check("credential", got, expires, test.credential)
	}
}
