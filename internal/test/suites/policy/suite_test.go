// Package policy_test checks on a real API server what the ValidatingAdmissionPolicies of config/policy let pass, and
// what they refuse to whom.
//
// Most users here are also in system:masters, so that RBAC never refuses. A spec says so where its user has the
// permissions of config/rbac instead.
package policy_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

const (
	systemNamespace = controlplane.SystemNamespace
	canaryName      = "verifier-canary"
	// timeout is how long a change may take to be in effect. Policies and roles are watched by the API server.
	timeout = 30 * time.Second
)

// The accounts, as policies see them.
const (
	controllerAccount = "system:serviceaccount:apikey-system:apikey-controller"
	verifierAccount   = "system:serviceaccount:apikey-system:apikey-verifier"
)

var (
	cp *controlplane.ControlPlane
	// namespace is where the specs' keys are.
	namespace = fixture.Name("ns")
	// editor and author have the ClusterRoles apikey-edit and apikey-admin there, and nothing else.
	editor, author client.Client
)

func TestPolicies(t *testing.T) {
	need.ControlPlane(t, "kube-controller-manager")
	RegisterFailHandler(Fail)
	RunSpecs(t, "Policies")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	cp, err = controlplane.Start(controlplane.Options{ControllerManager: true})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(cp.Stop()).To(Succeed()) })

	kubectl(ctx, "apply", "--server-side", "-k", folder("rbac"))
	kubectl(ctx, "apply", "--server-side", "-f", folder("verifier", "canary.yaml"))
	kubectl(ctx, "apply", "--server-side", "-k", folder("policy"))
	Expect(cp.Client.Create(ctx, fixture.Namespace(namespace, "nobody"))).To(Succeed())
	editor = personWith(ctx, "apikey-edit")
	author = personWith(ctx, "apikey-admin")
	settle(ctx)
})

// folder returns a path in config/.
func folder(path ...string) string {
	return filepath.Join(append([]string{controlplane.Root(), "config"}, path...)...)
}

// kubectl runs kubectl as an administrator. It must succeed.
func kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	out, err := cp.RunKubectl(ctx, args...)
	Expect(err).NotTo(HaveOccurred())
	return out
}

// settle waits until every earlier change to a policy or a binding is in effect. The API server learns of them in
// order, so it creates another policy and waits until that refuses something.
func settle(ctx context.Context) {
	GinkgoHelper()
	name := fixture.Name("settle")
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
					RuleWithOperations: admissionregistrationv1.RuleWithOperations{
						Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
						Rule: admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"},
							Resources: []string{"configmaps"}},
					},
				}},
			},
			Validations: []admissionregistrationv1.Validation{{Expression: "object.metadata.name != '" + name + "'"}},
		},
	}
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        name,
			ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}
	marker := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	Expect(cp.Client.Create(ctx, policy)).To(Succeed())
	Expect(cp.Client.Create(ctx, binding)).To(Succeed())
	Eventually(func(ctx context.Context) error {
		return cp.Client.Create(ctx, marker.DeepCopy(), client.DryRunAll)
	}).WithContext(ctx).WithTimeout(timeout).Should(MatchError(ContainSubstring(name)))
	Expect(cp.Client.Delete(ctx, binding)).To(Succeed())
	Expect(cp.Client.Delete(ctx, policy)).To(Succeed())
}

// without lets a policy record instead of refuse while something is done.
func without(ctx context.Context, policy string, do func()) {
	GinkgoHelper()
	actions := func(actions string) {
		GinkgoHelper()
		kubectl(ctx, "patch", "validatingadmissionpolicybinding", policy, "--type=merge", "--patch",
			`{"spec":{"validationActions":[`+actions+`]}}`)
		settle(ctx)
	}
	actions(`"Warn","Audit"`)
	defer actions(`"Deny"`)
	do()
}

// as returns a client for a user whom RBAC lets do anything.
func as(user string, extra ...map[string][]string) client.Client {
	GinkgoHelper()
	who := rest.ImpersonationConfig{UserName: user, Groups: []string{"system:masters", "system:authenticated"}}
	for _, extra := range extra {
		who.Extra = extra
	}
	return clientFor(impersonating(who))
}

// inPod is what the API server knows of a user whose token is bound to a pod.
func inPod(name string) map[string][]string {
	return map[string][]string{"authentication.kubernetes.io/pod-name": {name}}
}

// person returns a client for a user with no permissions but those bound to the name.
func person(name string) client.Client {
	GinkgoHelper()
	return clientFor(impersonating(rest.ImpersonationConfig{UserName: name, Groups: []string{"system:authenticated"}}))
}

// personWith returns a person with a ClusterRole in the specs' namespace.
func personWith(ctx context.Context, role string) client.Client {
	GinkgoHelper()
	return personIn(ctx, namespace, role)
}

func personIn(ctx context.Context, namespace, role string) client.Client {
	GinkgoHelper()
	name := "person-with-" + role + "-in-" + namespace
	bind(ctx, namespace, role, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name})
	somebody := person(name)
	Eventually(func(ctx context.Context) error {
		return somebody.List(ctx, &keysv1alpha1.ApiKeyList{}, client.InNamespace(namespace))
	}).WithContext(ctx).WithTimeout(timeout).Should(Succeed())
	return somebody
}

func bind(ctx context.Context, namespace, role string, subject rbacv1.Subject) {
	GinkgoHelper()
	err := cp.Client.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{subject},
	})
	Expect(client.IgnoreAlreadyExists(err)).To(Succeed()) // One role is always bound to the same subject.
}

func impersonating(who rest.ImpersonationConfig) *rest.Config {
	config := rest.CopyConfig(cp.Config)
	config.Impersonate = who
	return config
}

func clientFor(config *rest.Config) client.Client {
	GinkgoHelper()
	c, err := client.New(config, client.Options{Scheme: controlplane.Scheme()})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// create creates a key in the specs' namespace.
func create(ctx context.Context, change ...func(*keysv1alpha1.ApiKey)) *keysv1alpha1.ApiKey {
	GinkgoHelper()
	key := fixture.ApiKey(namespace, fixture.Name("key"), change...)
	Expect(cp.Client.Create(ctx, key)).To(Succeed())
	return key
}

func canary(ctx context.Context) *keysv1alpha1.ApiKey {
	GinkgoHelper()
	key := &keysv1alpha1.ApiKey{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: canaryName}}
	reread(ctx, key)
	return key
}

func reread(ctx context.Context, object client.Object) {
	GinkgoHelper()
	Expect(cp.Client.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
}

// merge is a JSON merge patch.
func merge(format string, args ...any) client.Patch {
	return client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, format, args...))
}

// beRefusedBy matches a refusal by a policy, with a message that begins with the field and tells the way out.
func beRefusedBy(policy, field, wayOut string) types.GomegaMatcher {
	denied := fmt.Sprintf("ValidatingAdmissionPolicy '%s' with binding '%s' denied request: ", policy, policy)
	return SatisfyAll(
		MatchError(apierrors.IsForbidden, "a refusal as forbidden"),
		WithTransform(func(err error) string {
			_, message, _ := strings.Cut(err.Error(), denied)
			return message
		}, SatisfyAll(HavePrefix(field), ContainSubstring(wayOut))),
	)
}
