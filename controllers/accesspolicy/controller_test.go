package accesspolicy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/accesspolicy"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

func TestAccessPolicyController(t *testing.T) {
	need.ControlPlane(t)
	RegisterFailHandler(Fail)
	RunSpecs(t, "AccessPolicy controller")
}

var cp *controlplane.ControlPlane

var _ = BeforeSuite(func() {
	var err error
	cp, err = controlplane.Start(controlplane.Options{})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() error { return cp.Stop() })
})

// world is what one test plays in: a host of its own, and a controller that is called by hand.
type world struct {
	host   keysv1alpha1.Host
	ages   ages
	events *events.FakeRecorder
}

func newWorld() *world {
	return &world{
		host:   keysv1alpha1.Host(fixture.Name("host") + ".example.com"),
		ages:   ages{Client: cp.Client, created: map[string]time.Time{}},
		events: events.NewFakeRecorder(100),
	}
}

// policy creates a policy for the world's host that was created so many seconds after the others of age 0.
func (w *world) policy(ctx context.Context, name string, age int, rules ...keysv1alpha1.AccessRule) *keysv1alpha1.AccessPolicy {
	GinkgoHelper()
	policy := fixture.Policy(fixture.Name(name), func(p *keysv1alpha1.AccessPolicy) {
		p.Spec.Hosts, p.Spec.Rules = []keysv1alpha1.Host{w.host}, rules
	})
	Expect(cp.Client.Create(ctx, policy)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(cp.Client.Delete(ctx, policy))).To(Succeed()) })
	w.ages.created[policy.Name] = time.Unix(1_800_000_000, 0).Add(time.Duration(age) * time.Second)
	return policy
}

// reconcile reads a policy anew, reconciles it once and leaves it as it then is.
func (w *world) reconcile(ctx context.Context, policy *keysv1alpha1.AccessPolicy) {
	GinkgoHelper()
	controller := accesspolicy.NewController(w.ages, w.events, clocktesting.NewFakePassiveClock(time.Now()))
	Expect(w.ages.Get(ctx, client.ObjectKeyFromObject(policy), policy)).To(Succeed())
	_, err := controller.Reconcile(ctx, policy.DeepCopy())
	Expect(err).NotTo(HaveOccurred())
	Expect(cp.Client.Get(ctx, client.ObjectKeyFromObject(policy), policy)).To(Succeed())
}

// ages is a client by which objects are as old as a test says: the API server's own clock counts seconds.
type ages struct {
	client.Client
	created map[string]time.Time
}

func (a ages) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	err := a.Client.Get(ctx, key, object, options...)
	if created, ok := a.created[key.Name]; ok {
		object.SetCreationTimestamp(metav1.NewTime(created))
	}
	return err
}

func (a ages) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	err := a.Client.List(ctx, list, options...)
	if policies, ok := list.(*keysv1alpha1.AccessPolicyList); ok {
		for i := range policies.Items {
			if created, ok := a.created[policies.Items[i].Name]; ok {
				policies.Items[i].CreationTimestamp = metav1.NewTime(created)
			}
		}
	}
	return err
}

func rule(path string, methods ...keysv1alpha1.Method) keysv1alpha1.AccessRule {
	return keysv1alpha1.AccessRule{
		Paths: []keysv1alpha1.PathMatch{{Type: keysv1alpha1.PathPrefix, Value: path}}, Methods: methods, Scopes: []keysv1alpha1.Scope{"products:read"},
	}
}

func condition(policy *keysv1alpha1.AccessPolicy, conditionType string) string {
	c := apimeta.FindStatusCondition(policy.Status.Conditions, conditionType)
	if c == nil {
		return ""
	}
	return string(c.Status) + "/" + c.Reason
}

func message(policy *keysv1alpha1.AccessPolicy) string {
	return apimeta.FindStatusCondition(policy.Status.Conditions, "Ready").Message
}

func expectReady(policy *keysv1alpha1.AccessPolicy) {
	GinkgoHelper()
	Expect(condition(policy, "Ready")).To(Equal("True/Applied"), "%v", policy.Status.Conditions)
	Expect(condition(policy, "Stalled")).To(BeEmpty())
	Expect(policy.Status.ObservedGeneration).To(Equal(policy.Generation))
}

func expectConflict(policy *keysv1alpha1.AccessPolicy) {
	GinkgoHelper()
	Expect(condition(policy, "Ready")).To(Equal("False/Conflict"))
	Expect(condition(policy, "Stalled")).To(Equal("True/Conflict"))
	Expect(policy.Status.ObservedGeneration).To(Equal(policy.Generation))
}

var _ = Describe("An AccessPolicy", func() {
	It("is Ready, and says how many rules it has", func(ctx SpecContext) {
		w := newWorld()
		policy := w.policy(ctx, "a", 0, rule("/x", "GET"), rule("/x", "POST"))
		w.reconcile(ctx, policy)
		expectReady(policy)
		Expect(policy.Status.Rules).To(HaveValue(BeEquivalentTo(2)))
		Expect(w.events.Events).To(BeEmpty())
	})

	It("is Ready with scopes alone", func(ctx SpecContext) {
		w := newWorld()
		policy := w.policy(ctx, "a", 0)
		w.reconcile(ctx, policy)
		expectReady(policy)
		Expect(policy.Status.Rules).To(HaveValue(BeEquivalentTo(0)))
	})

	It("says which rule an older one overrules, and the older says nothing", func(ctx SpecContext) {
		w := newWorld()
		younger := w.policy(ctx, "a", 1, rule("/y"), rule("/x", "GET", "HEAD", "POST"))
		older := w.policy(ctx, "z", 0, rule("/z"), rule("/w"), rule("/x", "GET", "HEAD"))
		w.reconcile(ctx, older)
		w.reconcile(ctx, younger)
		expectReady(older)
		expectConflict(younger)
		Expect(message(younger)).To(Equal("spec.rules[1] is not heard for Prefix /x on " + string(w.host) +
			", GET, HEAD: spec.rules[2] of the older policy " + older.Name + " decides."))
		Expect(w.events.Events).To(Receive(Equal("Warning Conflict " + message(younger))))
		Expect(w.events.Events).To(BeEmpty())
	})

	It("of the same second yields to the name that comes first", func(ctx SpecContext) {
		w := newWorld()
		second, first := w.policy(ctx, "b", 0, rule("/x")), w.policy(ctx, "a", 0, rule("/x"))
		w.reconcile(ctx, first)
		w.reconcile(ctx, second)
		expectReady(first)
		expectConflict(second)
		Expect(message(second)).To(ContainSubstring("every method that no other rule names: spec.rules[0] of the older policy " + first.Name))
	})

	It("that contradicts itself says so", func(ctx SpecContext) {
		w := newWorld()
		policy := w.policy(ctx, "a", 0, rule("/x", "GET"), rule("/x/", "GET"))
		w.reconcile(ctx, policy)
		expectConflict(policy)
		Expect(message(policy)).To(ContainSubstring("spec.rules[1] is not heard for Prefix /x/ on " + string(w.host) +
			", GET: spec.rules[0] of this policy decides."))
	})

	DescribeTable("is Ready beside", func(ctx SpecContext, change func(*keysv1alpha1.AccessPolicy)) {
		w := newWorld()
		w.policy(ctx, "a", 0, rule("/x", "GET"))
		policy := w.policy(ctx, "b", 1, rule("/x", "GET"))
		change(policy)
		Expect(cp.Client.Update(ctx, policy)).To(Succeed())
		w.reconcile(ctx, policy)
		expectReady(policy)
	},
		Entry("the same rule for another host", func(p *keysv1alpha1.AccessPolicy) { p.Spec.Hosts = []keysv1alpha1.Host{"other.example.com"} }),
		Entry("the same rule for another method", func(p *keysv1alpha1.AccessPolicy) { p.Spec.Rules[0].Methods = []keysv1alpha1.Method{"PUT"} }),
		Entry("a rule for every method", func(p *keysv1alpha1.AccessPolicy) { p.Spec.Rules[0].Methods = nil }),
		Entry("a more specific path", func(p *keysv1alpha1.AccessPolicy) { p.Spec.Rules[0].Paths[0].Value = "/x/y" }),
		Entry("an exact path", func(p *keysv1alpha1.AccessPolicy) { p.Spec.Rules[0].Paths[0].Type = keysv1alpha1.PathExact }),
	)

	It("that has rules and no hosts says so", func(ctx SpecContext) {
		w := newWorld()
		policy := w.policy(ctx, "a", 0, rule("/x"))
		policy.Spec.Hosts = nil
		Expect(cp.Client.Update(ctx, policy)).To(Succeed())
		w.reconcile(ctx, policy)
		Expect(condition(policy, "Ready")).To(Equal("False/NoHosts"))
		Expect(condition(policy, "Stalled")).To(Equal("True/NoHosts"))
	})

	It("names some of many conflicts, in an event as long as one can be", func(ctx SpecContext) {
		w := newWorld()
		var rules []keysv1alpha1.AccessRule
		for i := range 9 {
			rules = append(rules, rule(fmt.Sprintf("/%s%d", strings.Repeat("é", 255), i)))
		}
		w.policy(ctx, "a", 0, rules...)
		policy := w.policy(ctx, "b", 1, rules...)
		w.reconcile(ctx, policy)
		expectConflict(policy)
		Expect(strings.Count(message(policy), "is not heard")).To(Equal(5))
		Expect(message(policy)).To(HaveSuffix("; and 4 more."))
		var event string
		Expect(w.events.Events).To(Receive(&event))
		Expect(len(strings.TrimPrefix(event, "Warning Conflict "))).To(BeNumerically("<=", 1024))
	})

	It("recovers, and says so once", func(ctx SpecContext) {
		w := newWorld()
		older, younger := w.policy(ctx, "a", 0, rule("/x")), w.policy(ctx, "b", 1, rule("/x"))
		w.reconcile(ctx, younger)
		expectConflict(younger)
		Expect(w.events.Events).To(Receive(HavePrefix("Warning Conflict")))
		Expect(cp.Client.Delete(ctx, older)).To(Succeed())
		w.reconcile(ctx, younger)
		expectReady(younger)
		Expect(w.events.Events).To(Receive(HavePrefix("Normal Applied")))
	})

	It("is left alone when nothing has changed (L4)", func(ctx SpecContext) {
		w := newWorld()
		w.policy(ctx, "a", 0, rule("/x"))
		policy := w.policy(ctx, "b", 1, rule("/x"))
		w.reconcile(ctx, policy)
		version := policy.ResourceVersion
		Expect(w.events.Events).To(Receive())
		w.reconcile(ctx, policy)
		Expect(policy.ResourceVersion).To(Equal(version))
		Expect(w.events.Events).To(BeEmpty())
	})
})

// It fails when the Watches in Register is removed.
var _ = Describe("The controller", func() {
	It("looks at a policy again when another for its host comes, changes or goes", func(ctx SpecContext) {
		manager, err := ctrl.NewManager(cp.Config, ctrl.Options{
			Scheme: controlplane.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"},
		})
		Expect(err).NotTo(HaveOccurred())
		Expect(accesspolicy.NewController(manager.GetClient(), manager.GetEventRecorder("test"), clock.RealClock{}).Register(manager)).To(Succeed())
		running, stop := context.WithCancel(ctx)
		stopped := make(chan error, 1)
		go func() { stopped <- manager.Start(running) }()
		DeferCleanup(func() {
			stop()
			Expect(<-stopped).To(Succeed())
		})

		w := newWorld()
		policy := w.policy(ctx, "b", 0, rule("/x"))
		ready := func(want string) {
			GinkgoHelper()
			Eventually(func(g Gomega, ctx context.Context) {
				g.Expect(cp.Client.Get(ctx, client.ObjectKeyFromObject(policy), policy)).To(Succeed())
				g.Expect(condition(policy, "Ready")).To(Equal(want))
			}).WithContext(ctx).WithTimeout(time.Minute).Should(Succeed())
		}
		ready("True/Applied")

		// The name decides where the API server makes both in a second, so it is the younger that is asked about.
		younger := w.policy(ctx, "c", 0, rule("/x"))
		older := policy
		policy = younger
		ready("False/Conflict")

		moveTo := func(host keysv1alpha1.Host) {
			GinkgoHelper()
			Expect(cp.Client.Patch(ctx, older.DeepCopy(), client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"hosts":[%q]}}`, host)))).To(Succeed())
		}
		moveTo("other.example.com")
		ready("True/Applied")
		moveTo(w.host)
		ready("False/Conflict")

		Expect(cp.Client.Delete(ctx, older)).To(Succeed())
		ready("True/Applied")
	})
})
