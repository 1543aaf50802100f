package feed_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/client-go/rest"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// slowLists delays lists of tenants, while slow is set, for as long as a request may take.
type slowLists struct {
	http.RoundTripper
	slow *atomic.Bool
	held chan struct{}
}

func (s slowLists) RoundTrip(request *http.Request) (*http.Response, error) {
	if s.slow.Load() && strings.HasSuffix(request.URL.Path, "/tenants") && request.URL.Query().Get("watch") == "" {
		s.held <- struct{}{}
		<-request.Context().Done()
		return nil, request.Context().Err()
	}
	return s.RoundTripper.RoundTrip(request)
}

var _ = Describe("Acknowledgements", func() {
	// It fails if proveOnce waits for lists without acknowledging changes meanwhile.
	It("do not wait for a list", func(ctx SpecContext) {
		lists := slowLists{slow: &atomic.Bool{}, held: make(chan struct{}, 100)}
		config := rest.CopyConfig(cp.ServiceAccountConfig("apikey-verifier"))
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			lists := lists
			lists.RoundTripper = next
			return lists
		})
		v := startVerifier(config, canary)
		Eventually(v.feed.Ready).Should(Succeed())
		lists.slow.Store(true)
		// The next list follows after ten times as long as the first took, up to a quarter of the bound.
		Eventually(lists.held).Should(Receive())

		tenant := fixture.Tenant(fixture.Name("tenant"))
		Expect(cp.Client.Create(ctx, fixture.Namespace(tenant.Name, tenant.Name))).To(Succeed())
		key := fixture.ApiKey(tenant.Name, "ended",
			func(k *keysv1alpha1.ApiKey) { k.Spec.State = keysv1alpha1.ApiKeyRevoked })
		Expect(cp.Client.Create(ctx, key)).To(Succeed())
		Eventually(func(g Gomega) {
			seen := &keysv1alpha1.ApiKey{}
			g.Expect(cp.Client.Get(ctx, canary, seen)).To(Succeed())
			records := probe.Records(seen)
			g.Expect(records).To(HaveKey(v.name))
			g.Expect(records[v.name].HasApplied(key.ResourceVersion)).To(BeTrue())
		}).WithTimeout(3 * time.Second).Should(Succeed()) // The list takes 5 seconds.
		Expect(v.feed.Ready()).To(Succeed())
	})
})
