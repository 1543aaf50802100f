package callers_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// squatters registers the digests of a tenant's tokens for another tenant, too, before and after the tenant does, and
// asks in every way which key each token belongs to.
func (b *testbed) squatters(t *testing.T) []string {
	service := b.account(t, "apikey-introspect")
	program.WaitUntil(t, timeout, "the ClusterRole to be in force", func() error {
		status, content, err := call(t.Context(), http.MethodPost, b.Verifier.HTTP+"/token/introspect", service,
			url.Values{"token": {"x"}})
		if status != http.StatusOK {
			return fmt.Errorf("status %d, %v, %w", status, content, err)
		}
		return nil
	})
	s := &squatting{testbed: b, service: service}
	return append(s.minted(t), append(s.madeElsewhere(t), service)...)
}

type squatting struct {
	*testbed
	service string
}

// minted checks a token that the controller has minted for the tenant.
func (s *squatting) minted(t *testing.T) []string {
	own, tok := s.key(t, s.namespace.Name)
	squatter := s.register(t, s.another.Name, tok)
	mine, others := fullName(own), fullName(squatter)
	s.wait(t, tok, mine, mine, others)

	s.Patch(t, squatter, `{"spec":{"state":"Suspended"}}`)
	s.wait(t, tok, mine, mine, "")
	s.Patch(t, squatter, `{"spec":{"state":"Active"}}`)
	s.Patch(t, own, `{"spec":{"state":"Suspended"}}`)
	s.wait(t, tok, "", "", others)

	s.Patch(t, own, `{"spec":{"state":"Revoked"}}`)
	s.wait(t, tok, "", "", "")
	again := s.register(t, s.another.Name, tok)
	s.refused(t, again, "minted for an ApiKey that is revoked")
	s.wait(t, tok, "", "", "")
	return []string{tok}
}

// madeElsewhere checks a token that was made outside of the cluster, and that another tenant has registered first.
func (s *squatting) madeElsewhere(t *testing.T) []string {
	made, err := keys.MakeToken(rand.Reader, token.FormatLive, &keysv1alpha1.ApiKey{})
	if err != nil {
		t.Fatal(err)
	}
	tok := made.Reveal()
	squatter := s.register(t, s.another.Name, tok)
	s.wait(t, tok, fullName(squatter), "", fullName(squatter))
	own := s.register(t, s.namespace.Name, tok)
	s.wait(t, tok, "tenant_required", fullName(own), fullName(squatter))

	s.Patch(t, squatter, `{"spec":{"state":"Revoked"}}`)
	s.wait(t, tok, "tenant_required", fullName(own), "")
	if err := s.Client.Delete(t.Context(), squatter); err != nil {
		t.Fatal(err)
	}
	s.wait(t, tok, fullName(own), fullName(own), "")
	return []string{tok}
}

func fullName(key *keysv1alpha1.ApiKey) string { return key.Namespace + "/" + key.Name }

// register creates a key with a token's digest.
func (s *squatting) register(t *testing.T, namespace, tok string) *keysv1alpha1.ApiKey {
	t.Helper()
	key := fixture.ApiKey(namespace, fixture.Name("key"), func(k *keysv1alpha1.ApiKey) {
		k.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: strings.TrimPrefix(token.DigestOf(tok).String(), "sha256:"),
			Prefix: tok[:17]}
	})
	s.Create(t, key)
	return key
}

// refused waits until a key's status says that it is refused, and why.
func (s *squatting) refused(t *testing.T, key *keysv1alpha1.ApiKey, why string) {
	t.Helper()
	program.WaitUntil(t, timeout, "a refusal in status", func() error {
		if err := s.Client.Get(t.Context(), client.ObjectKeyFromObject(key), key); err != nil {
			return err
		}
		for _, condition := range key.Status.Conditions {
			if condition.Type == "Ready" && condition.Reason == "DigestConflict" && strings.Contains(condition.Message, why) {
				return nil
			}
		}
		return fmt.Errorf("conditions %v", key.Status.Conditions)
	})
}

// wait waits until a token belongs to the given keys: asked about without a tenant, for the tenant, and for the other
// one. A name is blank where the token is inactive.
func (s *squatting) wait(t *testing.T, tok, unnamed, mine, others string) {
	t.Helper()
	own, other := s.tenant.Spec.ID, ""
	program.WaitUntil(t, timeout,
		fmt.Sprintf("whose the token is to be %q, %q to its tenant, %q to the other", unnamed, mine, others), func() error {
			if other == "" {
				id, err := s.tenantOf(t, s.another.Labels)
				if err != nil {
					return err
				}
				other = id
			}
			for tenant, want := range map[string]string{"": unnamed, own: mine, other: others} {
				if got, err := s.introspected(t, tok, tenant); err != nil || got != want {
					return fmt.Errorf("introspection for %q says %q, want %q, %w", tenant, got, want, err)
				}
				if want == "tenant_required" {
					want = ""
				}
				if got, err := s.reviewed(t, tok, tenant); err != nil || got != want {
					return fmt.Errorf("a review for %q says %q, want %q, %w", tenant, got, want, err)
				}
			}
			return nil
		})
}

// tenantOf returns the ID of the tenant that selects a namespace's labels.
func (s *squatting) tenantOf(t *testing.T, labels map[string]string) (string, error) {
	tenants := &keysv1alpha1.TenantList{}
	if err := s.Client.List(t.Context(), tenants); err != nil {
		return "", err
	}
	for i := range tenants.Items {
		for key, value := range tenants.Items[i].Spec.NamespaceSelector.MatchLabels {
			if labels[key] == value {
				return tenants.Items[i].Spec.ID, nil
			}
		}
	}
	return "", fmt.Errorf("no tenant selects %v", labels)
}

// introspected returns the key that introspection names, the reason that it gives, or nothing.
func (s *squatting) introspected(t *testing.T, tok, tenant string) (string, error) {
	form := url.Values{"token": {tok}}
	if tenant != "" {
		form.Set("tenant", tenant)
	}
	status, answer, err := call(t.Context(), http.MethodPost, s.Verifier.HTTP+"/token/introspect", s.service, form)
	if err != nil || status != http.StatusOK {
		return "", fmt.Errorf("status %d, %w", status, err)
	}
	if id, named := answer["tenant_id"]; named && tenant != "" && id != tenant {
		return "", fmt.Errorf("asked for %s, and told of %v", tenant, id)
	}
	for _, member := range []string{"client_id", "reason"} {
		if text, ok := answer[member].(string); ok {
			return text, nil
		}
	}
	return "", nil
}

// reviewed returns the key whose user a TokenReview authenticates, or nothing.
func (s *squatting) reviewed(t *testing.T, tok, tenant string) (string, error) {
	address := "http://" + s.Verifier.HTTP + "/token/review"
	if tenant != "" {
		address += "/" + tenant
	}
	body := `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{"token":"` + tok + `","audiences":["` +
		testAudience + `"]}}`
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var review authenticationv1.TokenReview
	if err := json.NewDecoder(response.Body).Decode(&review); err != nil || response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d, %w", response.StatusCode, err)
	}
	_, key, _ := strings.Cut(review.Status.User.Username, ":key:")
	return key, nil
}
