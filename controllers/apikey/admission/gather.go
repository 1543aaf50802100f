// Package admission decides whether a key may have what it asks for.
//
//	Gatherer.Gather ─ reads everything that the decision depends on
//	Decide ────────── runs the checks on it, in order: pure
//	Admit ─────────── the step that writes the decision and the grant to status
package admission

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/apikey/lifecycle"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// Input is everything that the decision about a key depends on.
type Input struct {
	Key *keysv1alpha1.ApiKey
	// Namespace holds the labels of the key's namespace.
	Namespace map[string]string
	// Tenants are all tenants that may select the namespace, and all with the same ID as one of those.
	Tenants   []keysv1alpha1.Tenant
	Catalogue *access.Catalogue
	// Claimants are the keys that claim the digest which the key registers.
	Claimants []keysv1alpha1.ApiKey
	// Served reports whether the controller may write Secrets in the key's namespace.
	Served bool
}

// Tenants finds tenants in the cache.
type Tenants interface {
	// For returns all tenants that may select a namespace with the given labels, and all with the same id as one of
	// those.
	For(ctx context.Context, namespace map[string]string) ([]keysv1alpha1.Tenant, error)
}

// Keys finds keys in the cache.
type Keys interface {
	// Claimants returns the keys that claim a digest.
	Claimants(ctx context.Context, digest string) ([]keysv1alpha1.ApiKey, error)
	// New returns the keys of a namespace whose status has not been written yet.
	New(ctx context.Context, namespace string) ([]*keysv1alpha1.ApiKey, error)
}

// Gatherer reads the Input of decisions.
type Gatherer struct {
	// Client reads from the cache.
	Client  client.Reader
	Tenants Tenants
	Keys    Keys
	// Serves reports whether the controller may write Secrets in a namespace.
	Serves func(namespace string) bool
}

// Gather reads everything that the decision about a key depends on.
func (g *Gatherer) Gather(ctx context.Context, key *keysv1alpha1.ApiKey) (Input, error) {
	namespace := &corev1.Namespace{}
	if err := g.Client.Get(ctx, types.NamespacedName{Name: key.Namespace}, namespace); err != nil {
		return Input{}, fmt.Errorf("reading the key's namespace: %w", err)
	}
	tenants, err := g.Tenants.For(ctx, namespace.Labels)
	if err != nil {
		return Input{}, fmt.Errorf("finding the key's tenant: %w", err)
	}
	policies := &keysv1alpha1.AccessPolicyList{}
	// What is listed is only read: the cache's own objects need not be copied for each key.
	if err := g.Client.List(ctx, policies, client.UnsafeDisableDeepCopy); err != nil {
		return Input{}, fmt.Errorf("listing access policies: %w", err)
	}
	in := Input{
		Key:       key,
		Namespace: namespace.Labels,
		Tenants:   tenants,
		Catalogue: access.NewCatalogue(policies.Items),
		Served:    g.Serves(key.Namespace),
	}
	if key.Spec.Digest != nil {
		if in.Claimants, err = g.Keys.Claimants(ctx, keystate.RegisteredDigest(key)); err != nil {
			return Input{}, fmt.Errorf("listing the keys with the same digest: %w", err)
		}
	}
	return in, nil
}

// maxCandidates is how many of a namespace's new keys are looked at, the oldest first: a tenant has no more places.
const maxCandidates = 500

// Candidates returns the other keys of a key's namespace that are new and would be admitted to the same tenant, the
// oldest first, and no more than limit of them. It gathers again, because it decides about other keys, at a later time;
// and only for the one key of many that writes the ledger.
func (g *Gatherer) Candidates(
	ctx context.Context, key *keysv1alpha1.ApiKey, tenant *keysv1alpha1.Tenant, limit int,
) (candidates []*keysv1alpha1.ApiKey, err error) {
	keys, err := g.Keys.New(ctx, key.Namespace)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	in, err := g.Gather(ctx, key)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(keys, func(a, b *keysv1alpha1.ApiKey) int { return keystate.CompareAge(a, b) })
	for _, other := range keys[:min(len(keys), maxCandidates)] {
		if len(candidates) == limit {
			break
		}
		if other.UID != key.UID && admissible(in, other, tenant) {
			candidates = append(candidates, other)
		}
	}
	return candidates, nil
}

// admissible reports whether another key of the namespace is new, asks for a place, and would be admitted to a tenant.
func admissible(in Input, other *keysv1alpha1.ApiKey, tenant *keysv1alpha1.Tenant) bool {
	if other.DeletionTimestamp != nil || other.Spec.State != keysv1alpha1.ApiKeyActive || other.Spec.Digest != nil ||
		keystate.IsCanary(other) || !lifecycle.IsNew(other) {
		return false
	}
	in.Key, in.Claimants = other, nil
	admitted, refusal := Decide(in)
	return refusal == nil && admitted.UID == tenant.UID
}
