package manifests_test

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/discovery"
)

// subject is a user with groups.
type subject struct {
	name   string
	groups []string
}

// serviceAccount is a service account of the system namespace.
func serviceAccount(name string) subject {
	return subject{
		name:   "system:serviceaccount:" + systemNamespace + ":" + name,
		groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + systemNamespace, "system:authenticated"},
	}
}

// person returns a user who is in no group but that of all users.
func person(name string) subject {
	return subject{name: "person-with-" + name, groups: []string{"system:authenticated"}}
}

// apiResource is a resource of the API server. Its name is like a CRD's, with a subresource after it, such as
// deployments.apps/scale.
type apiResource struct {
	name       string
	namespaced bool
}

// action is something that a subject may do or not. Without a name it is about every object, without a namespace about
// every namespace.
type action struct {
	verb, resource, namespace, name string
}

func (a action) String() string {
	text := a.verb + " " + a.resource
	if a.name != "" {
		text += " " + a.name
	}
	if a.namespace == "" {
		return text + " everywhere"
	}
	return text + " in " + a.namespace
}

// allowed asks the API server whether somebody may do something.
func allowed(ctx context.Context, who subject, what action) bool {
	GinkgoHelper()
	qualified, subresource, _ := strings.Cut(what.resource, "/")
	name, group, _ := strings.Cut(qualified, ".")
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:   who.name,
		Groups: who.groups,
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: what.verb, Group: group, Version: "*", Resource: name, Subresource: subresource, Namespace: what.namespace,
			Name: what.name,
		},
	}}
	Expect(cp.Client.Create(ctx, review)).To(Succeed())
	Expect(review.Status.EvaluationError).To(BeEmpty())
	return review.Status.Allowed
}

// resources returns all resources of the API server, with their subresources.
func resources() []apiResource {
	GinkgoHelper()
	client, err := discovery.NewDiscoveryClientForConfig(cp.Config)
	Expect(err).NotTo(HaveOccurred())
	_, lists, err := client.ServerGroupsAndResources()
	Expect(err).NotTo(HaveOccurred())

	found := map[apiResource]bool{}
	for _, list := range lists {
		group, _, _ := strings.Cut(list.GroupVersion, "/")
		if !strings.Contains(list.GroupVersion, "/") {
			group = ""
		}
		for _, r := range list.APIResources {
			name, subresource, isSub := strings.Cut(r.Name, "/")
			if group != "" {
				name += "." + group
			}
			if isSub {
				name += "/" + subresource
			}
			found[apiResource{name: name, namespaced: r.Namespaced}] = true
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b apiResource) int { return cmp.Compare(a.name, b.name) })
}

// named returns the names to which permissions in the cluster are limited, without Kubernetes' own permissions.
func named(ctx context.Context) []string {
	GinkgoHelper()
	var clusterRoles rbacv1.ClusterRoleList
	Expect(cp.Client.List(ctx, &clusterRoles)).To(Succeed())
	var roles rbacv1.RoleList
	Expect(cp.Client.List(ctx, &roles)).To(Succeed())

	names := map[string]bool{}
	add := func(labels map[string]string, rules []rbacv1.PolicyRule) {
		if labels["kubernetes.io/bootstrapping"] != "" {
			return
		}
		for _, rule := range rules {
			for _, name := range rule.ResourceNames {
				names[name] = true
			}
		}
	}
	for _, role := range clusterRoles.Items {
		add(role.Labels, role.Rules)
	}
	for _, role := range roles.Items {
		add(role.Labels, role.Rules)
	}
	return slices.Sorted(maps.Keys(names))
}

// writes returns what a subject may write, without what every account may write.
func writes(ctx context.Context, who subject) []string {
	GinkgoHelper()
	all := func(apiResource) bool { return true }
	everybodys := writesTo(ctx, serviceAccount("default"), all)
	Expect(everybodys).To(HaveEach(ContainSubstring("reviews.auth")),
		"an account without permissions may only ask about itself")
	return slices.DeleteFunc(writesTo(ctx, who, all),
		func(write string) bool { return slices.Contains(everybodys, write) })
}

// writesTo returns what a subject may write among the resources for which ask returns true.
func writesTo(ctx context.Context, who subject, ask func(apiResource) bool) []string {
	GinkgoHelper()
	var (
		found  []string
		mutex  sync.Mutex
		group  sync.WaitGroup
		places = make(chan struct{}, 8)
		asked  = 0
	)
	names := named(ctx)
	for _, r := range resources() {
		if !ask(r) {
			continue
		}
		asked++
		group.Go(func() {
			defer GinkgoRecover()
			places <- struct{}{}
			defer func() { <-places }()
			for _, verb := range []string{"create", "update", "patch", "delete", "deletecollection"} {
				may := widest(ctx, who, verb, r, names)
				mutex.Lock()
				for _, what := range may {
					found = append(found, what.String())
				}
				mutex.Unlock()
			}
		})
	}
	group.Wait()
	Expect(asked).To(BeNumerically(">", 0))
	slices.Sort(found)
	return found
}

// widest returns the widest action that a subject may do: everywhere, else in a namespace, else to an object of one of
// the given names.
func widest(ctx context.Context, who subject, verb string, r apiResource, names []string) []action {
	everywhere := action{verb: verb, resource: r.name}
	if allowed(ctx, who, everywhere) {
		return []action{everywhere}
	}
	namespaces := []string{""}
	if r.namespaced {
		namespaces = append(namespaces, systemNamespace, tenantNamespace)
	}
	var may []action
	for _, namespace := range namespaces {
		what := action{verb: verb, resource: r.name, namespace: namespace}
		if namespace != "" && allowed(ctx, who, what) {
			may = append(may, what)
			continue
		}
		for _, what.name = range names {
			if allowed(ctx, who, what) {
				may = append(may, what)
			}
		}
	}
	return may
}

// escalations returns what a subject may do that gives it more rights and isn't a write: the special verbs of
// Kubernetes, and everything at once.
func escalations(ctx context.Context, who subject) []string {
	GinkgoHelper()
	var found []string
	for verb, on := range map[string][]string{
		"*": {"*.*", "secrets", apikeys, apikeys + "/status"},
		"impersonate": {"users", "groups", "serviceaccounts", "uids.authentication.k8s.io",
			"userextras.authentication.k8s.io"},
		"bind":     {"roles.rbac.authorization.k8s.io", "clusterroles.rbac.authorization.k8s.io"},
		"escalate": {"roles.rbac.authorization.k8s.io", "clusterroles.rbac.authorization.k8s.io"},
		"approve":  {"signers.certificates.k8s.io"},
		"sign":     {"signers.certificates.k8s.io"},
		"attest":   {"signers.certificates.k8s.io"},
		"get":      {"pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy", "nodes/proxy"},
	} {
		for _, resource := range on {
			for _, namespace := range []string{"", systemNamespace, tenantNamespace} {
				what := action{verb: verb, resource: resource, namespace: namespace}
				if allowed(ctx, who, what) {
					found = append(found, what.String())
				}
			}
		}
	}
	return found
}
