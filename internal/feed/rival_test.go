package feed_test

import (
	"context"
	"encoding/json"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/probe"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// recordOf returns a verifier's record on the canary.
func recordOf(ctx context.Context, name string) probe.Record {
	GinkgoHelper()
	seen := &keysv1alpha1.ApiKey{}
	Expect(cp.Client.Get(ctx, canary, seen)).To(Succeed())
	records := probe.Records(seen)
	Expect(records).To(HaveKey(name))
	return records[name]
}

// write writes a verifier's annotation on the canary; nil removes it.
func write(ctx context.Context, name string, value any) {
	GinkgoHelper()
	annotations := map[string]any{probe.Annotation(name): value}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": annotations}})
	Expect(err).NotTo(HaveOccurred())
	object := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{Namespace: canary.Namespace, Name: canary.Name}}
	Expect(cp.Client.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch))).To(Succeed())
}

// foreign returns the record of another process, which refuses everything two minutes after its last record.
func foreign(change ...func(*probe.Record)) string {
	record := probe.Record{Nonce: fixture.Name("nonce"), Instance: "another", Applied: "1",
		MaxStaleness: metav1.Duration{Duration: 2 * time.Minute}}
	for _, c := range change {
		c(&record)
	}
	return record.String()
}

func (v *verifier) contested() float64 {
	GinkgoHelper()
	families, err := v.registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	for _, family := range families {
		if family.GetName() == "apikey_verifier_name_contested" {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return -1
}

func (v *verifier) freshness() verify.Freshness { return v.feed.Freshness(v.clock.now()) }

var _ = Describe("A verifier's name (S1)", func() {
	start := func(name string) *verifier {
		GinkgoHelper()
		v := startNamed(cp.ServiceAccountConfig("apikey-verifier"), canary, name)
		Eventually(v.freshness).ShouldNot(Equal(verify.NotSynced))
		return v
	}

	It("belongs to one process: of two with the same name, neither allows anything until the other has stopped",
		func(ctx SpecContext) {
			// It fails if prober.observe takes any record for its own.
			k := issue(ctx)
			first := start(fixture.Name("verifier"))
			Eventually(first.reasonFor(k)).Should(Equal(verify.ReasonAllowed))
			second := start(first.name)
			for _, v := range []*verifier{first, second} {
				Eventually(v.freshness).Should(Equal(verify.Contested))
				Expect(v.reasonFor(k)()).To(Equal(verify.ReasonUnavailable))
				Expect(v.feed.Ready()).To(MatchError(ContainSubstring("another verifier has the name " + first.name)))
				Expect(v.contested()).To(Equal(1.0))
			}
			Eventually(func() string { return recordOf(ctx, first.name).Contested }).ShouldNot(BeEmpty())
			second.stop()
			Eventually(first.reasonFor(k)).Should(Equal(verify.ReasonAllowed))
			Expect(first.contested()).To(Equal(0.0))
		})

	It("may be that of a predecessor that crashed", func(ctx SpecContext) {
		// It fails if contest ignores whether a nonce of this process has come back.
		name := fixture.Name("verifier")
		write(ctx, name, foreign())
		v := start(name)
		Eventually(v.feed.Ready).Should(Succeed())
		Consistently(v.feed.Ready).WithTimeout(3 * time.Second).Should(Succeed())
		Expect(recordOf(ctx, name).Instance).NotTo(Equal("another"))
		write(ctx, name, foreign(func(r *probe.Record) { r.SignedOff = true })) // A late record of its predecessor.
		write(ctx, name, nil)
		Consistently(v.feed.Ready).WithTimeout(3 * time.Second).Should(Succeed())
	})

	DescribeTable("can be used again once the other process must refuse everything",
		func(ctx SpecContext, value string, after time.Duration) {
			v := start(fixture.Name("verifier"))
			Eventually(v.feed.Ready).Should(Succeed())
			write(ctx, v.name, value)
			Eventually(v.freshness).Should(Equal(verify.Contested))
			Eventually(func() string { return recordOf(ctx, v.name).Contested }).ShouldNot(BeEmpty())
			v.clock.move(after - 10*time.Second)
			Expect(v.freshness()).To(Equal(verify.Contested))
			v.clock.move(11 * time.Second)
			Eventually(v.feed.Ready).Should(Succeed())
			Eventually(func() string { return recordOf(ctx, v.name).Contested }).Should(BeEmpty())
		},
		Entry("by its bound", foreign(), 2*time.Minute),
		Entry("by this one's bound, if that is longer",
			foreign(func(r *probe.Record) { r.MaxStaleness.Duration = 2 * time.Second }), time.Minute),
		Entry("by the longest bound, if its own is invalid",
			foreign(func(r *probe.Record) { r.MaxStaleness.Duration = time.Millisecond }), time.Hour),
		Entry("by the longest bound, if its record can't be read", "?", time.Hour),
		Entry("by the longest bound, if an administrator says that this one has ended", probe.Gone, time.Hour),
	)
})
