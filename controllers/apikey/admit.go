package apikey

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
	"github.com/nexuscommerce/apikey-operator/internal/tenancy"
)

// admit decides whether the key may have what it asks for, and writes the grant. A key that was admitted before keeps its
// grant when it now asks for something that it may not have; verifiers hold it to the narrower of the two.
type admit struct {
	client    client.Client
	tenants   tenantFinder
	claimants func(ctx context.Context, digest string) ([]keysv1alpha1.ApiKey, error)
	verifiers *verifiers
	publish   *publish
}

func (s *admit) run(ctx context.Context, r *round) (*outcome, error) {
	facts, err := s.gather(ctx, r.key)
	if err != nil {
		return nil, err
	}
	tenant, refusal := judge(facts)
	r.tenant, r.facts = tenant, facts
	withdrawn := reason(r.key.Status.Conditions, keysv1alpha1.ConditionAdmitted) == keysv1alpha1.ReasonTenantChanged
	refused := keystate.NeverIssued(r.key)
	if refusal != nil {
		r.set(keysv1alpha1.ConditionAdmitted, metav1.ConditionFalse, refusal.reason, refusal.message)
		return refusal, s.publish.keep(ctx, r)
	}
	r.set(keysv1alpha1.ConditionAdmitted, metav1.ConditionTrue, keysv1alpha1.ReasonAdmitted,
		fmt.Sprintf("Tenant %s grants the scopes and the expiry.", tenant.Name))
	if refused {
		// Before it takes a place: what is refused gives its own back (S3).
		if err := r.save(ctx); err != nil {
			return nil, err
		}
	}
	grant(r, tenant)
	if withdrawn {
		// Verifiers refuse the key until they have learned this too: before its token can be read, if it never could (S8).
		s.verifiers.forgetKnown(r.key)
		return nil, r.save(ctx)
	}
	return nil, nil
}

// facts are all that admission depends on.
type facts struct {
	key *keysv1alpha1.ApiKey
	// namespace has the labels of the key's.
	namespace map[string]string
	// tenants are all that may select the namespace, and all that have an id of one of those.
	tenants   []keysv1alpha1.Tenant
	catalogue *access.Catalogue
	// claimants are the keys that claim the same digest as this one, where it brings its own.
	claimants []keysv1alpha1.ApiKey
	// served says whether the controller may keep Secrets in the key's namespace.
	served bool
}

func (s *admit) gather(ctx context.Context, key *keysv1alpha1.ApiKey) (facts, error) {
	namespace := &corev1.Namespace{}
	if err := s.client.Get(ctx, types.NamespacedName{Name: key.Namespace}, namespace); err != nil {
		return facts{}, fmt.Errorf("reading the key's namespace: %w", err)
	}
	tenants, err := s.tenants(ctx, namespace.Labels)
	if err != nil {
		return facts{}, fmt.Errorf("finding the key's tenant: %w", err)
	}
	policies := &keysv1alpha1.AccessPolicyList{}
	// What is listed is only read: the cache's own objects need no copies for each key.
	if err := s.client.List(ctx, policies, client.UnsafeDisableDeepCopy); err != nil {
		return facts{}, fmt.Errorf("listing access policies: %w", err)
	}
	f := facts{
		key:       key,
		namespace: namespace.Labels,
		tenants:   tenants,
		catalogue: access.NewCatalogue(policies.Items),
		served:    s.publish.secrets.serves(key.Namespace),
	}
	if key.Spec.Digest != nil {
		claimants, err := s.claimants(ctx, brought(key))
		if err != nil {
			return facts{}, fmt.Errorf("listing the keys with the same digest: %w", err)
		}
		f.claimants = claimants
	}
	return f, nil
}

// check is one rule of admission. It returns nil where the key keeps it.
type check func(facts, *keysv1alpha1.Tenant) *outcome

// checks are in the order in which a person would mend what they find.
var checks = []check{
	tenantNotSuspended,
	scopesAllowed,
	scopesDeclared,
	expiryOffered,
	digestNotRevoked,
	digestFree,
	namespaceServed,
}

// judge returns the key's tenant, nil where it has none, and the first reason to refuse the key. It is pure.
func judge(f facts) (*keysv1alpha1.Tenant, *outcome) {
	tenant, refusal := tenantOf(f)
	if refusal != nil {
		return nil, refusal
	}
	for _, check := range checks {
		if refusal := check(f, tenant); refusal != nil {
			return tenant, refusal
		}
	}
	return tenant, nil
}

// tenantOf returns the one tenant that the key's namespace belongs to. A key stays with the tenant it was issued to.
func tenantOf(f facts) (*keysv1alpha1.Tenant, *outcome) {
	selected := tenancy.Of(f.namespace, f.tenants)
	issuedTo := f.key.Status.TenantID
	if len(selected) > 1 {
		const most = 10 // A condition's message has its bound, and any number of tenants may select a namespace.
		var names []string
		for _, tenant := range selected[:min(len(selected), most)] {
			names = append(names, tenant.Name)
		}
		if more := len(selected) - most; more > 0 {
			names = append(names, fmt.Sprintf("and %d more", more))
		}
		return nil, refused(keysv1alpha1.ReasonAmbiguousTenant, fmt.Sprintf(
			"Namespace %s is selected by the tenants %s: change its labels or their spec.namespaceSelector so that one selects it.",
			f.key.Namespace, strings.Join(names, ", ")))
	}
	if len(selected) == 0 {
		if issuedTo != "" {
			return nil, refused(keysv1alpha1.ReasonTenantChanged, fmt.Sprintf(
				"The key was issued to tenant %s, and no tenant selects namespace %s any more: give the namespace its labels back, or create another ApiKey.",
				issuedTo, f.key.Namespace))
		}
		return nil, refused(keysv1alpha1.ReasonNoTenant, fmt.Sprintf(
			"No tenant selects namespace %s: label the namespace as the spec.namespaceSelector of its Tenant asks.", f.key.Namespace))
	}
	tenant := selected[0]
	if issuedTo != "" && !strings.EqualFold(issuedTo, tenant.Spec.ID) {
		return nil, refused(keysv1alpha1.ReasonTenantChanged, fmt.Sprintf(
			"The key was issued to tenant %s, and namespace %s now belongs to tenant %s (%s): create another ApiKey for that tenant, or give the namespace its labels back.",
			issuedTo, f.key.Namespace, tenant.Name, tenant.Spec.ID))
	}
	if holder := tenancy.HolderOf(tenant.Spec.ID, f.tenants); holder.Name != tenant.Name {
		return nil, refused(keysv1alpha1.ReasonAmbiguousTenant, fmt.Sprintf(
			"Tenant %s has the id of the older tenant %s: delete one of them.", tenant.Name, holder.Name))
	}
	return tenant, nil
}

func tenantNotSuspended(_ facts, tenant *keysv1alpha1.Tenant) *outcome {
	if tenant.Spec.State != keysv1alpha1.TenantSuspended {
		return nil
	}
	return refused(keysv1alpha1.ReasonTenantSuspended,
		fmt.Sprintf("Tenant %s is suspended: its keys are refused until its spec.state is Active.", tenant.Name))
}

func scopesAllowed(f facts, tenant *keysv1alpha1.Tenant) *outcome {
	for _, scope := range f.key.Spec.Scopes {
		if !access.CoveredBy(tenant.Spec.AllowedScopes, scope) {
			return refused(keysv1alpha1.ReasonScopeNotAllowed, fmt.Sprintf(
				"spec.scopes: tenant %s may not grant %s, only %s.", tenant.Name, scope, list(tenant.Spec.AllowedScopes)))
		}
	}
	return nil
}

func scopesDeclared(f facts, _ *keysv1alpha1.Tenant) *outcome {
	for _, scope := range f.key.Spec.Scopes {
		if f.catalogue.Declares(scope) {
			continue
		}
		hint := "declare it in one, or remove it."
		if nearest, ok := f.catalogue.Nearest(scope); ok {
			hint = fmt.Sprintf("did you mean %s?", nearest)
		}
		return refused(keysv1alpha1.ReasonUnknownScope, fmt.Sprintf("spec.scopes: no AccessPolicy declares %s: %s", scope, hint))
	}
	return nil
}

func expiryOffered(f facts, tenant *keysv1alpha1.Tenant) *outcome {
	expiry := f.key.Spec.Expiry.OrNever()
	if slices.Contains(tenant.Spec.ExpiryOptions, expiry) {
		return nil
	}
	return refused(keysv1alpha1.ReasonExpiryNotOffered, fmt.Sprintf(
		"spec.expiry: tenant %s does not offer %s, only %s.", tenant.Name, expiry, list(tenant.Spec.ExpiryOptions)))
}

// namespaceServed refuses a key whose Secret the controller may not write. One that brings its digest has none.
func namespaceServed(f facts, _ *keysv1alpha1.Tenant) *outcome {
	if f.served || f.key.Spec.Digest != nil {
		return nil
	}
	return refused(keysv1alpha1.ReasonNamespaceNotServed, fmt.Sprintf(
		"The controller may not keep Secrets in namespace %s: add it to the controller's --namespaces and bind the ClusterRole apikey-controller-secrets there, or create the key in another.",
		f.key.Namespace))
}

func list[T ~string](values []T) string {
	texts := make([]string, len(values))
	for i := range values {
		texts[i] = string(values[i])
	}
	return strings.Join(texts, ", ")
}

// ungrant takes back what was granted to a key that isn't issued after all: it isn't tied to the tenant.
func ungrant(r *round) {
	r.key.Status.TenantID, r.key.Status.Scopes, r.key.Status.AllowedCIDRs = "", nil, nil
}

// grant writes what the key is granted. Its expiry counts from its issue.
func grant(r *round, tenant *keysv1alpha1.Tenant) {
	status, spec := &r.key.Status, &r.key.Spec
	status.TenantID = strings.ToLower(tenant.Spec.ID)
	status.Scopes = slices.Clone(spec.Scopes)
	status.AllowedCIDRs = slices.Clone(spec.AllowedCIDRs)
	if status.IssuedTime != nil {
		setExpiry(r)
	}
}

// setExpiry computes the key's expiry from its issue.
func setExpiry(r *round) {
	status := &r.key.Status
	status.ExpiresTime, status.Expires = nil, string(keysv1alpha1.ExpiryNever)
	if expires, ok := r.key.Spec.Expiry.From(status.IssuedTime.Time); ok {
		t := metav1.NewTime(expires)
		status.ExpiresTime, status.Expires = &t, expires.UTC().Format("2006-01-02")
	}
}
