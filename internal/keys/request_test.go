package keys_test

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

const acme = "3714240b-2e06-4c35-8856-ccc1c096323e"

func TestRequest(t *testing.T) {
	request := keys.Request{
		Namespace: "shop", Name: "k", DisplayName: "K", Scopes: []string{"a:read", " a:write", "a:read"}, Expiry: "90d",
		AllowedCIDRs: []string{"203.0.113.0/24"}, RotateEvery: "30d", Secret: "token",
	}
	spec := request.Key().Spec
	if len(spec.Scopes) != 2 || spec.Scopes[1] != "a:write" || spec.Rotation.Every != "30d" ||
		spec.Rotation.Overlap != "" ||
		spec.Secret.Name != "token" {
		t.Errorf("%+v", spec)
	}
	least := (&keys.Request{Name: "k", Scopes: []string{"a:read"}}).Key().Spec
	if least.Rotation != nil || least.Secret != nil || least.AllowedCIDRs != nil {
		t.Errorf("%+v: what is not asked for is left out", least)
	}
}

// TestMakeToken checks that the token is a token, that the digest is its own, and that the manifest holds nothing of
// it.
func TestMakeToken(t *testing.T) {
	key := (&keys.Request{Namespace: "shop", Name: "k", Scopes: []string{"a:read"}}).Key()
	made, err := keys.MakeToken(rand.Reader, token.FormatTest, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := token.Parse(made.Reveal())
	if err != nil || parsed.Digest().String() != "sha256:"+key.Spec.Digest.SHA256 ||
		parsed.Prefix() != key.Spec.Digest.Prefix ||
		!strings.HasPrefix(parsed.Prefix(), "nxc_test_") {
		t.Errorf("%v, %+v", err, key.Spec.Digest)
	}
	other, err := keys.MakeToken(rand.Reader, token.FormatTest, key)
	if err != nil || other.Digest() == made.Digest() {
		t.Errorf("two tokens are the same, or %v", err)
	}
	if _, err := keys.MakeToken(strings.NewReader("not enough"), token.FormatTest, key); err == nil {
		t.Error("made of too little randomness")
	}
}

func TestManifest(t *testing.T) {
	manifest := keys.Manifest(working())
	if manifest.Spec.State != "" || manifest.UID != "" || manifest.Status.Prefix != "" || manifest.Kind != "ApiKey" {
		t.Errorf("%+v", manifest)
	}
	suspend := func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeySuspended }
	if suspended := keys.Manifest(working(suspend)); suspended.Spec.State != "Suspended" {
		t.Errorf("%+v", suspended.Spec)
	}
}

func TestFormOf(t *testing.T) {
	live := tokenOf(t, token.FormatLive)
	for text, want := range map[string]keys.Form{
		live: keys.FormOurs, tokenOf(t, token.FormatTest): keys.FormOurs, tokenOf(t, "acme_"): keys.FormOther,
		live[:65]: keys.FormDamaged, live + "x": keys.FormDamaged, live[:30] + "-" + live[31:]: keys.FormDamaged,
		"nxc_live_": keys.FormDamaged,
		"ghp_abc":   keys.FormForeign, "": keys.FormForeign,
	} {
		if got := keys.FormOf(text); got != want {
			t.Errorf("%d characters: %s, want %s", len(text), got, want)
		}
	}
}

func tokenOf(t *testing.T, format token.Format) string {
	t.Helper()
	made, err := token.New(rand.Reader, format)
	if err != nil {
		t.Fatal(err)
	}
	return made.Reveal()
}

func TestGoals(t *testing.T) {
	published := metav1.NewTime(now)
	rotated := func(request string, published *metav1.Time) func(*keysv1alpha1.ApiKey) {
		return func(k *keysv1alpha1.ApiKey) {
			k.Status.LastHandledRotateAt = request
			k.Status.Credentials = []keysv1alpha1.Credential{
				{ID: "7Hk2PqZx", PublishedTime: &metav1.Time{Time: now}},
				{ID: "8Hk2PqZx", PublishedTime: published},
			}
		}
	}
	stalled := conditions(condition("Ready", "False", "QuotaExceeded"), condition("Stalled", "True", "QuotaExceeded"))
	for name, test := range map[string]struct {
		goal    keys.Goal
		change  func(*keysv1alpha1.ApiKey)
		reached bool
		stuck   string
	}{
		"ready":                         {keys.Ready, func(*keysv1alpha1.ApiKey) {}, true, ""},
		"ready, for what it was before": {keys.Ready, func(k *keysv1alpha1.ApiKey) { k.Generation++ }, false, ""},
		"announced":                     {keys.Ready, conditions(condition("Ready", "Unknown", "Announced")), false, ""},
		"stalled":                       {keys.Ready, stalled, false, "QuotaExceeded"},
		"suspended": {
			keys.Ready, conditions(condition("Suspended", "True", "Suspended")), false, "Suspended",
		},
		"revoked": {keys.Ready, conditions(condition("Revoked", "True", "Revoked")), false, "Revoked"},
		"effective": {
			keys.RevocationEffective, conditions(condition("RevocationEffective", "True", "Revoked")), true, "",
		},
		"not effective yet": {
			keys.RevocationEffective, conditions(condition("RevocationEffective", "False", "WaitingForVerifiers")), false, "",
		},
		"rotated":                     {keys.Rotated("r"), rotated("r", &published), true, ""},
		"rotated, but not published":  {keys.Rotated("r"), rotated("r", nil), false, ""},
		"rotated for another request": {keys.Rotated("r"), rotated("q", &published), false, ""},
		"rotation that is stuck":      {keys.Rotated("r"), stalled, false, "QuotaExceeded"},
	} {
		reached, err := test.goal(working(test.change))
		stuck, _ := errors.AsType[*keys.StuckError](err)
		if reached != test.reached || (stuck == nil) != (test.stuck == "") || stuck != nil && stuck.Reason != test.stuck {
			t.Errorf("%s: %t, %v", name, reached, err)
		}
	}
}
