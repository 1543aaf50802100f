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

// environment is what one test runs in: a host of its own, and a controller that the test calls.
type environment struct {
	host   keysv1alpha1.Host
	ages   ages
	events *events.FakeRecorder
}

func newEnvironment() *environment {
	return &environment{
		host:   keysv1alpha1.Host(fixture.Name("host") + ".example.com"),
		ages:   ages{Client: cp.Client, created: map[string]time.Time{}},
		events: events.NewFakeRecorder(100),
	}
}

// policy creates a policy for the environment's host that was created so many seconds after the others of age 0.
func (env *environment) policy(
	ctx context.Context, name string, age int, rules ...keysv1alpha1.AccessRule,
) *keysv1alpha1.AccessPolicy {
	GinkgoHelper()
	policy := fixture.Policy(fixture.Name(name), func(p *keysv1alpha1.AccessPolicy) {
		p.Spec.Hosts, p.Spec.Rules = []keysv1alpha1.Host{env.host}, rules
	})
	Expect(cp.Client.Create(ctx, policy)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(cp.Client.Delete(ctx, policy))).To(Succeed()) })
	env.ages.created[policy.Name] = time.Unix(1_800_000_000, 0).Add(time.Duration(age) * time.Second)
	return policy
}

// reconcile reads a policy again, reconciles it once and leaves it as it then is.
func (env *environment) reconcile(ctx context.Context, policy *keysv1alpha1.AccessPolicy) {
	GinkgoHelper()
	controller := accesspolicy.NewController(env.ages, env.events, clocktesting.NewFakePassiveClock(time.Now()))
	Expect(env.ages.Get(ctx, client.ObjectKeyFromObject(policy), policy)).To(Succeed())
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
		Paths:   []keysv1alpha1.PathMatch{{Type: keysv1alpha1.PathPrefix, Value: path}},
		Methods: methods,
		Scopes:  []keysv1alpha1.Scope{"products:read"},
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
	It("is Ready, and has the number of its rules in status", func(ctx SpecContext) {
		env := newEnvironment()
		policy := env.policy(ctx, "a", 0, rule("/x", "GET"), rule("/x", "POST"))
		env.reconcile(ctx, policy)
		expectReady(policy)
		Expect(policy.Status.Rules).To(HaveValue(BeEquivalentTo(2)))
		Expect(env.events.Events).To(BeEmpty())
	})

	It("is Ready with scopes and no rules", func(ctx SpecContext) {
		env := newEnvironment()
		policy := env.policy(ctx, "a", 0)
		env.reconcile(ctx, policy)
		expectReady(policy)
		Expect(policy.Status.Rules).To(HaveValue(BeEquivalentTo(0)))
	})

	It("reports which of its rules an older policy overrides, and the older policy stays Ready", func(ctx SpecContext) {
		env := newEnvironment()
		younger := env.policy(ctx, "a", 1, rule("/y"), rule("/x", "GET", "HEAD", "POST"))
		older := env.policy(ctx, "z", 0, rule("/z"), rule("/w"), rule("/x", "GET", "HEAD"))
		env.reconcile(ctx, older)
		env.reconcile(ctx, younger)
		expectReady(older)
		expectConflict(younger)
		Expect(message(younger)).To(Equal("spec.rules[1] is not in effect for Prefix /x on " + string(env.host) +
			", GET, HEAD: spec.rules[2] of the older policy " + older.Name + " decides."))
		Expect(env.events.Events).To(Receive(Equal("Warning Conflict " + message(younger))))
		Expect(env.events.Events).To(BeEmpty())
	})

	It("yields to the alphabetically first name if both were created in the same second", func(ctx SpecContext) {
		env := newEnvironment()
		second, first := env.policy(ctx, "b", 0, rule("/x")), env.policy(ctx, "a", 0, rule("/x"))
		env.reconcile(ctx, first)
		env.reconcile(ctx, second)
		expectReady(first)
		expectConflict(second)
		Expect(message(second)).To(ContainSubstring(
			"every method that no other rule names: spec.rules[0] of the older policy " + first.Name))
	})

	It("reports rules that contradict one another", func(ctx SpecContext) {
		env := newEnvironment()
		policy := env.policy(ctx, "a", 0, rule("/x", "GET"), rule("/x/", "GET"))
		env.reconcile(ctx, policy)
		expectConflict(policy)
		Expect(message(policy)).To(ContainSubstring("spec.rules[1] is not in effect for Prefix /x/ on " + string(env.host) +
			", GET: spec.rules[0] of this policy decides."))
	})

	DescribeTable("is Ready beside", func(ctx SpecContext, change func(*keysv1alpha1.AccessPolicy)) {
		env := newEnvironment()
		env.policy(ctx, "a", 0, rule("/x", "GET"))
		policy := env.policy(ctx, "b", 1, rule("/x", "GET"))
		change(policy)
		Expect(cp.Client.Update(ctx, policy)).To(Succeed())
		env.reconcile(ctx, policy)
		expectReady(policy)
	},
		Entry("the same rule for another host", func(p *keysv1alpha1.AccessPolicy) {
			p.Spec.Hosts = []keysv1alpha1.Host{"other.example.com"}
		}),
		Entry("the same rule for another method", func(p *keysv1alpha1.AccessPolicy) {
			p.Spec.Rules[0].Methods = []keysv1alpha1.Method{"PUT"}
		}),
		Entry("a rule for every method", func(p *keysv1alpha1.AccessPolicy) { p.Spec.Rules[0].Methods = nil }),
		Entry("a more specific path", func(p *keysv1alpha1.AccessPolicy) { p.Spec.Rules[0].Paths[0].Value = "/x/y" }),
		Entry("an exact path", func(p *keysv1alpha1.AccessPolicy) { p.Spec.Rules[0].Paths[0].Type = keysv1alpha1.PathExact }),
	)

	It("reports that it has rules and no hosts", func(ctx SpecContext) {
		env := newEnvironment()
		policy := env.policy(ctx, "a", 0, rule("/x"))
		policy.Spec.Hosts = nil
		Expect(cp.Client.Update(ctx, policy)).To(Succeed())
		env.reconcile(ctx, policy)
		Expect(condition(policy, "Ready")).To(Equal("False/NoHosts"))
		Expect(condition(policy, "Stalled")).To(Equal("True/NoHosts"))
	})

	It("names some of many conflicts, in an event of the greatest length", func(ctx SpecContext) {
		env := newEnvironment()
		var rules []keysv1alpha1.AccessRule
		for i := range 9 {
			rules = append(rules, rule(fmt.Sprintf("/%s%d", strings.Repeat("é", 255), i)))
		}
		env.policy(ctx, "a", 0, rules...)
		policy := env.policy(ctx, "b", 1, rules...)
		env.reconcile(ctx, policy)
		expectConflict(policy)
		Expect(strings.Count(message(policy), "is not in effect")).To(Equal(5))
		Expect(message(policy)).To(HaveSuffix("; and 4 more."))
		var event string
		Expect(env.events.Events).To(Receive(&event))
		Expect(len(strings.TrimPrefix(event, "Warning Conflict "))).To(BeNumerically("<=", 1024))
	})

	It("recovers, and reports that in one event", func(ctx SpecContext) {
		env := newEnvironment()
		older, younger := env.policy(ctx, "a", 0, rule("/x")), env.policy(ctx, "b", 1, rule("/x"))
		env.reconcile(ctx, younger)
		expectConflict(younger)
		Expect(env.events.Events).To(Receive(HavePrefix("Warning Conflict")))
		Expect(cp.Client.Delete(ctx, older)).To(Succeed())
		env.reconcile(ctx, younger)
		expectReady(younger)
		Expect(env.events.Events).To(Receive(HavePrefix("Normal Applied")))
	})

	It("is left alone when nothing has changed (L4)", func(ctx SpecContext) {
		env := newEnvironment()
		env.policy(ctx, "a", 0, rule("/x"))
		policy := env.policy(ctx, "b", 1, rule("/x"))
		env.reconcile(ctx, policy)
		version := policy.ResourceVersion
		Expect(env.events.Events).To(Receive())
		env.reconcile(ctx, policy)
		Expect(policy.ResourceVersion).To(Equal(version))
		Expect(env.events.Events).To(BeEmpty())
	})
})

// It fails when the Watches in Register is removed.
var _ = Describe("The controller", func() {
	It("is reconciled when another policy for its host is created, changed or deleted", func(ctx SpecContext) {
		manager, err := ctrl.NewManager(cp.Config, ctrl.Options{
			Scheme: controlplane.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"},
		})
		Expect(err).NotTo(HaveOccurred())
		recorder := manager.GetEventRecorder("test")
		controller := accesspolicy.NewController(manager.GetClient(), recorder, clock.RealClock{})
		Expect(controller.Register(manager)).To(Succeed())
		running, stop := context.WithCancel(ctx)
		stopped := make(chan error, 1)
		go func() { stopped <- manager.Start(running) }()
		DeferCleanup(func() {
			stop()
			Expect(<-stopped).To(Succeed())
		})

		env := newEnvironment()
		policy := env.policy(ctx, "b", 0, rule("/x"))
		ready := func(want string) {
			GinkgoHelper()
			Eventually(func(g Gomega, ctx context.Context) {
				g.Expect(cp.Client.Get(ctx, client.ObjectKeyFromObject(policy), policy)).To(Succeed())
				g.Expect(condition(policy, "Ready")).To(Equal(want))
			}).WithContext(ctx).WithTimeout(time.Minute).Should(Succeed())
		}
		ready("True/Applied")

		// The name decides where the API server makes both in a second, so it is the younger that is asked about.
		younger := env.policy(ctx, "c", 0, rule("/x"))
		older := policy
		policy = younger
		ready("False/Conflict")

		moveTo := func(host keysv1alpha1.Host) {
			GinkgoHelper()
			patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"hosts":[%q]}}`, host))
			Expect(cp.Client.Patch(ctx, older.DeepCopy(), patch)).To(Succeed())
		}
		moveTo("other.example.com")
		ready("True/Applied")
		moveTo(env.host)
		ready("False/Conflict")

		Expect(cp.Client.Delete(ctx, older)).To(Succeed())
		ready("True/Applied")
	})
})
