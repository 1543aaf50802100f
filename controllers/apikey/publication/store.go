package publication

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/redact"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// Getter is the part of a client.Reader that reads one object.
type Getter interface {
	Get(ctx context.Context, name client.ObjectKey, into client.Object, options ...client.GetOption) error
}

// Namespaces are the namespaces in which the controller may read and write Secrets. None means all.
type Namespaces []string

// Serves reports whether a namespace is one of them.
func (n Namespaces) Serves(namespace string) bool {
	return len(n) == 0 || slices.Contains(n, namespace)
}

// Store reads Secrets past the cache, and writes only Secrets that belong to a key (S5).
type Store struct {
	client client.Client
	live   client.Reader
	// metadata reads the metadata of Secrets from the cache, which holds nothing else of them.
	metadata Getter
	served   Namespaces

	mu sync.Mutex
	// applied maps an ApiKey's UID to the content that its Secret was last found or written with.
	applied map[types.UID]applied
	// prefetches maps a namespace to the prefetch that has begun.
	prefetches map[string]*prefetch
}

// applied is the content that a Secret had at a resourceVersion. If it is the desired content, and the Secret has not
// changed since, there is nothing to do.
type applied struct {
	resourceVersion string
	// content is a hash.
	content [sha256.Size]byte
}

// maxApplied limits what is kept of keys that are gone. Beyond it, all Secrets are read once more.
const maxApplied = 500_000

// NewStore returns the Secrets of some namespaces.
func NewStore(writer client.Client, live client.Reader, metadata Getter, served Namespaces) *Store {
	return &Store{
		client: writer, live: live, metadata: metadata, served: served,
		applied: map[types.UID]applied{}, prefetches: map[string]*prefetch{},
	}
}

// Serves reports whether Secrets of a namespace may be read and written.
func (s *Store) Serves(namespace string) bool { return s.served.Serves(namespace) }

// existing is a Secret as it is in the cluster, or nil if there is none.
type existing struct {
	*corev1.Secret
}

func (s *Store) get(ctx context.Context, namespace, name string) (existing, error) {
	secret := &corev1.Secret{}
	err := s.live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return existing{}, nil
	}
	if err != nil {
		return existing{}, fmt.Errorf("reading Secret %s: %w", name, err)
	}
	return existing{secret}, nil
}

// holding returns the token in the Secret if it has the digest, or nil.
func (e existing) holding(digest string) *token.Token {
	if e.Secret == nil {
		return nil
	}
	tok, err := token.Parse(string(e.Data["token"]))
	if err != nil || tok.Digest().String() != digest {
		return nil
	}
	return &tok
}

// belongsTo reports whether the Secret is the key's, by its owner reference or, where somebody has removed that, by its
// label or by the token in it.
func (e existing) belongsTo(key *keysv1alpha1.ApiKey, digest string) bool {
	if owner := metav1.GetControllerOf(e.Secret); owner != nil {
		return owner.UID == key.UID
	}
	return e.Labels[uidLabel] == string(key.UID) || (digest != "" && e.holding(digest) != nil)
}

// upToDate reports whether the Secret has the desired content, as far as the cache knows: it had that content, and has
// not changed since. A change that the cache does not have yet makes the key be reconciled again. So a reconciliation
// with nothing to do, which most are, does not read the Secret.
func (s *Store) upToDate(ctx context.Context, key *keysv1alpha1.ApiKey, desired *corev1.Secret) bool {
	recorded, ok := s.recorded(ctx, key)
	if !ok {
		return false
	}
	cached, err := s.cached(ctx, client.ObjectKeyFromObject(desired))
	if err != nil || cached.ResourceVersion != recorded.resourceVersion {
		return false
	}
	sum, err := contentHash(desired)
	return err == nil && sum == recorded.content
}

// absent reports whether the cache has no Secret of a name. A Secret that it does not have yet makes its key be
// reconciled again.
func (s *Store) absent(ctx context.Context, name client.ObjectKey) bool {
	_, err := s.cached(ctx, name)
	return apierrors.IsNotFound(err)
}

// cached returns what the cache has of a Secret.
func (s *Store) cached(ctx context.Context, name client.ObjectKey) (*metav1.PartialObjectMetadata, error) {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return secret, s.metadata.Get(ctx, name, secret)
}

// recorded returns what was recorded of a key's Secret, after a prefetch if necessary.
func (s *Store) recorded(ctx context.Context, key *keysv1alpha1.ApiKey) (applied, bool) {
	s.mu.Lock()
	recorded, ok := s.applied[key.UID]
	s.mu.Unlock()
	if ok {
		return recorded, true
	}
	s.prefetch(ctx, key.Namespace)
	s.mu.Lock()
	defer s.mu.Unlock()
	recorded, ok = s.applied[key.UID]
	return recorded, ok
}

// recordApplied records that a Secret has the desired content.
func (s *Store) recordApplied(key *keysv1alpha1.ApiKey, is, desired *corev1.Secret) {
	sum, err := contentHash(desired)
	if err != nil {
		return // It is read again, then.
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.applied) >= maxApplied {
		clear(s.applied)
	}
	s.applied[key.UID] = applied{resourceVersion: is.ResourceVersion, content: sum}
}

func contentHash(secret *corev1.Secret) ([sha256.Size]byte, error) {
	content, err := secret.Marshal()
	return sha256.Sum256(content), err
}

// apply gives the Secret its desired content, if it has a different one. The error is a *foreignError if somebody
// else's Secret is in the way, which is left as it is.
func (s *Store) apply(
	ctx context.Context, key *keysv1alpha1.ApiKey, current existing, desired *corev1.Secret, digest string,
) error {
	if current.Secret == nil {
		if err := s.overtaken(ctx, key); err != nil {
			return err
		}
		return s.create(ctx, key, desired)
	}
	// The line that keeps S5: what is not ours is not written to.
	if !current.belongsTo(key, digest) {
		return &foreignError{secret: current.Secret, predecessor: isPredecessors(current.Secret, key)}
	}
	if current.Type != desired.Type || (current.Immutable != nil && *current.Immutable) {
		// Neither can be changed in place.
		if err := s.overtaken(ctx, key); err != nil {
			return err
		}
		if err := s.delete(ctx, current.Secret); err != nil {
			return err
		}
		return s.create(ctx, key, desired)
	}
	merged := current.DeepCopy()
	withdraw(merged, desired)
	merged.OwnerReferences = desired.OwnerReferences
	merged.Labels = merge(merged.Labels, desired.Labels)
	merged.Annotations = merge(merged.Annotations, desired.Annotations)
	merged.Data = desired.Data
	if equality.Semantic.DeepEqual(current.Secret, merged) {
		s.recordApplied(key, current.Secret, desired)
		return nil
	}
	if err := s.overtaken(ctx, key); err != nil {
		return err
	}
	// The update carries the resourceVersion that was read.
	if err := s.client.Update(ctx, merged); err != nil {
		return refusedOr(desired.Name, fmt.Errorf("updating Secret %s: %w", desired.Name, redact.Error(err)))
	}
	s.recordApplied(key, merged, desired)
	return nil
}

// overtaken fails with a conflict if the key has changed since it was read: from an outdated key, a token would be
// published that was rotated out or revoked since (S8). It is called after the Secret was read and before it is
// written, so that whoever publishes another token in between changes the Secret's resourceVersion.
func (s *Store) overtaken(ctx context.Context, key *keysv1alpha1.ApiKey) error {
	latest := &keysv1alpha1.ApiKey{}
	if err := s.live.Get(ctx, client.ObjectKeyFromObject(key), latest); err != nil {
		return fmt.Errorf("reading the key past the cache: %w", err)
	}
	if latest.UID == key.UID && latest.ResourceVersion == key.ResourceVersion {
		return nil
	}
	return apierrors.NewConflict(keysv1alpha1.GroupVersion.WithResource("apikeys").GroupResource(), key.Name,
		errors.New("the key has changed since it was read"))
}

func (s *Store) create(ctx context.Context, key *keysv1alpha1.ApiKey, desired *corev1.Secret) error {
	created := desired.DeepCopy()
	if err := s.client.Create(ctx, created); err != nil {
		return refusedOr(desired.Name, fmt.Errorf("creating Secret %s: %w", desired.Name, redact.Error(err)))
	}
	s.recordApplied(key, created, desired)
	return nil
}

// Remove deletes the key's Secret of that name. A Secret that is not the key's stays.
func (s *Store) Remove(ctx context.Context, key *keysv1alpha1.ApiKey, name string) error {
	current, err := s.get(ctx, key.Namespace, name)
	if err != nil || current.Secret == nil || !current.belongsTo(key, "") {
		return err
	}
	return s.delete(ctx, current.Secret)
}

// Unpublish deletes the Secret of a key, under the name in status and the name in spec: between the Secret's creation
// and its record in status, only spec has its name. It reports whether the Secret is gone, which it is not in a
// namespace that the controller does not serve. Where the cache has no such Secret and the key's status says that it is
// gone, nothing is read.
func (s *Store) Unpublish(ctx context.Context, key *keysv1alpha1.ApiKey, recordedGone bool) (gone bool, err error) {
	if !s.Serves(key.Namespace) {
		return key.Status.SecretName == "", nil
	}
	name := SecretName(key)
	if recordedGone && s.absent(ctx, client.ObjectKey{Namespace: key.Namespace, Name: name}) {
		return true, nil
	}
	if former := key.Status.SecretName; former != "" {
		if err := s.Remove(ctx, key, former); err != nil {
			return false, err
		}
	}
	return true, s.Remove(ctx, key, name)
}

// delete deletes a Secret, if it is still as it was read. A policy that refuses the deletion has seen the Secret, too.
func (s *Store) delete(ctx context.Context, secret *corev1.Secret) error {
	err := s.client.Delete(ctx, secret, client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting Secret %s: %w", secret.Name, redact.Error(err))
	}
	return nil
}

func isPredecessors(secret *corev1.Secret, key *keysv1alpha1.ApiKey) bool {
	owner := metav1.GetControllerOf(secret)
	return owner != nil && owner.Kind == "ApiKey" && owner.APIVersion == keysv1alpha1.GroupVersion.String() &&
		owner.Name == key.Name
}

// merge adds entries to a map and keeps its other entries: others may label a Secret too.
func merge(current, wanted map[string]string) map[string]string {
	if len(wanted) == 0 {
		return current
	}
	merged := maps.Clone(current)
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, wanted)
	return merged
}
