package keys_test

import (
	"crypto/rand"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const globex = "9d2f6c1e-0b7a-4f0e-8a51-5f3c2b1d4e60"

// claimant returns a key that has a token, minted with a root key or registered with none.
func claimant(name, tenant, text string, root int32, age time.Duration) keysv1alpha1.ApiKey {
	scopes := []keysv1alpha1.Scope{"a:read"}
	return keysv1alpha1.ApiKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, CreationTimestamp: metav1.NewTime(issued.Add(-age))},
		Spec:       keysv1alpha1.ApiKeySpec{Scopes: scopes, State: keysv1alpha1.ApiKeyActive},
		Status: keysv1alpha1.ApiKeyStatus{TenantID: tenant, Scopes: scopes, Credentials: []keysv1alpha1.Credential{
			{ID: "7Hk2PqZx", Digest: token.DigestOf(text).String(), Root: root, IssuedTime: metav1.NewTime(issued)},
		}},
	}
}

func wellFormed(t *testing.T) string {
	t.Helper()
	made, err := keys.MakeToken(rand.Reader, token.FormatLive,
		(&keys.Request{Name: "k", Scopes: []string{"a:read"}}).Key())
	if err != nil {
		t.Fatal(err)
	}
	return made.Reveal()
}

var issued = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// TestIdentify checks that every key that has a token is found, the one first that it stands for where no tenant is
// named, and that none is called its owner where there is no telling.
func TestIdentify(t *testing.T) {
	text := wellFormed(t)
	minted := claimant("minted", acme, text, 1, 0)
	squatter := claimant("squatter", globex, text, 0, time.Hour)
	registered := claimant("registered", acme, text, 0, 0)
	younger := claimant("younger", acme, text, 0, -time.Hour)
	revoked := *minted.DeepCopy()
	revoked.Spec.State = keysv1alpha1.ApiKeyRevoked
	suspended := *minted.DeepCopy()
	suspended.Spec.State = keysv1alpha1.ApiKeySuspended

	for name, test := range map[string]struct {
		keys      []keysv1alpha1.ApiKey
		want      []string // names, with + where the token works as that key's
		contested bool
	}{
		"nobody's": {nil, nil, false},
		"one":      {[]keysv1alpha1.ApiKey{registered}, []string{"registered+"}, false},
		"minted, and registered before": {
			[]keysv1alpha1.ApiKey{squatter, minted}, []string{"minted+", "squatter+"}, false,
		},
		"suspended, and registered before": {
			[]keysv1alpha1.ApiKey{squatter, suspended}, []string{"minted", "squatter+"}, false,
		},
		"revoked, and registered before": {[]keysv1alpha1.ApiKey{squatter, revoked}, []string{"minted", "squatter"}, false},
		"registered by two tenants": {
			[]keysv1alpha1.ApiKey{registered, squatter}, []string{"squatter+", "registered+"}, true,
		},
		"registered twice in a tenant": {
			[]keysv1alpha1.ApiKey{younger, registered}, []string{"registered+", "younger"}, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			evaluator := keys.NewEvaluator(test.keys, keys.AssumedTenants(test.keys), nil)
			found, contested := evaluator.Identify(text, issued.Add(time.Minute))
			var got []string
			for i := range found {
				name := found[i].Key.Name
				if found[i].Works() {
					name += "+"
				}
				got = append(got, name)
				if found[i].Minted != (found[i].Key.Name == "minted") || !found[i].Newest {
					t.Errorf("%+v", found[i])
				}
				if (found[i].Holder != "") != (found[i].Key.Name == "younger") {
					t.Errorf("%s is held by %q", found[i].Key.Name, found[i].Holder)
				}
			}
			if len(got) != len(test.want) || contested != test.contested {
				t.Fatalf("%q, contested: %t; want %q", got, contested, test.want)
			}
			for i := range got {
				if got[i] != test.want[i] {
					t.Errorf("%q, want %q", got, test.want)
				}
			}
		})
	}
}

// TestIdentifySaysWhy checks that the owner of a key with a revoked token learns that it is revoked.
func TestIdentifySaysWhy(t *testing.T) {
	text := wellFormed(t)
	revoked := claimant("minted", acme, text, 1, 0)
	revoked.Spec.State = keysv1alpha1.ApiKeyRevoked
	all := []keysv1alpha1.ApiKey{revoked, claimant("squatter", globex, text, 0, time.Hour)}
	found, _ := keys.NewEvaluator(all, keys.AssumedTenants(all), nil).Identify(text, issued)
	if len(found) != 2 || found[1].Decision.Reason != verify.ReasonRevoked {
		t.Errorf("%+v", found)
	}
}
