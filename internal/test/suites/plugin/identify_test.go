package plugin_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// identifiesEveryClaim has another tenant register the digest of a minted token: both are listed, and the key that it was minted for
// is the one that it is of.
func (i *installation) identifiesEveryClaim(t *testing.T) {
	holder := i.key(t, "warehouse", "storefront")
	tenant := fixture.Name("globex")
	squatter := fixture.ApiKey(fixture.Name("ns"), "squatter", func(k *keysv1alpha1.ApiKey) {
		k.Spec.Digest = &keysv1alpha1.TokenDigest{
			SHA256: strings.TrimPrefix(holder.Status.Credentials[0].Digest, "sha256:"), Prefix: holder.Status.Prefix,
		}
	})
	for _, object := range []client.Object{fixture.Tenant(tenant), fixture.Namespace(squatter.Namespace, tenant), squatter} {
		if err := i.cp.Client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { _ = i.cp.Client.Delete(t.Context(), squatter) }()
	i.await(t, squatter.Namespace, squatter.Name, keysv1alpha1.ConditionReady)

	token := i.token(t, "warehouse", "storefront")
	people := i.run(t, invocation{stdin: token, args: []string{"identify"}})
	i.check(t, []string{"identify"}, people, 0, []string{
		"It works.", "warehouse/storefront (Storefront)", "Claims:", "TENANT ID", "minted", squatter.Namespace + "/squatter", "registered",
	})
	const wanted = "jsonpath={.key}{range .claims[*]} {.key},{.minted},{.works}{end}"
	programs := i.run(t, invocation{stdin: token, args: []string{"identify", "-o", wanted}})
	if want := "warehouse/storefront warehouse/storefront,true,true " + squatter.Namespace + "/squatter,false,true"; programs.stdout != want || programs.code != 0 {
		t.Errorf("%q, want %q", programs.stdout, want)
	}
	names := i.run(t, invocation{stdin: token, args: []string{"identify", "-o", "name"}})
	if want := "apikey.keys.nexuscommerce.io/storefront\napikey.keys.nexuscommerce.io/squatter\n"; names.stdout != want {
		t.Errorf("%q, want %q", names.stdout, want)
	}
}
