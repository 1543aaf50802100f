package apikey

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// secrets reads Secrets past the cache, and writes those that belong to a key and no other (S5).
type secrets struct {
	client client.Client
	live   client.Reader
	// served are the namespaces that it may do so in; none are all.
	served []string
	// metadata reads Secrets' metadata from the cache, which has no more of them; nil where there is none.
	metadata Getter

	mu sync.Mutex
	// right are, by the ApiKey's UID, the Secrets as they were last made or found.
	right map[types.UID]right
	// surveys are, by namespace, those that have begun.
	surveys map[string]*survey
}

// serves says whether a namespace is one in which Secrets may be read and written.
func (s *secrets) serves(namespace string) bool {
	return len(s.served) == 0 || slices.Contains(s.served, namespace)
}

// right is a Secret as it was: if that is what it should be, there is nothing to do.
type right struct {
	resourceVersion string
	// content is the digest of what was in it.
	content [sha256.Size]byte
}

// mostRight bounds what is kept of keys that are gone. Past it, all Secrets are read once more.
const mostRight = 500_000

// existing is a Secret as it is in the cluster; nil inside where there is none.
type existing struct {
	*corev1.Secret
}

// foreignError says that a Secret of the name a key needs belongs to somebody else.
type foreignError struct {
	secret *corev1.Secret
	// predecessor is set where it belongs to a deleted ApiKey of the same name, and will be collected.
	predecessor bool
}

// Error implements error.
func (e *foreignError) Error() string {
	if e.predecessor {
		return fmt.Sprintf("Secret %s still belongs to a deleted ApiKey of this name: waiting for it to be collected.", e.secret.Name)
	}
	return fmt.Sprintf("Secret %s is there and does not belong to this key: remove it, or set another name in spec.secret.name.", e.secret.Name)
}

// refusedError says that the API server does not let the controller write a Secret.
type refusedError struct {
	name string
	err  error
}

// refusedOr returns a *refusedError where an error is one that trying again doesn't mend, and wherever it is in the words of a policy or a
// webhook, which may refuse with any status: those are for no log either.
func refusedOr(name string, err error) error {
	if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || denied(err) {
		return &refusedError{name: name, err: err}
	}
	return err
}

// denials are what the API server puts before the words of a policy or a webhook.
var denials = []string{"denied request", "denied the request"}

func denied(err error) bool {
	return err != nil && slices.ContainsFunc(denials, func(denial string) bool { return strings.Contains(err.Error(), denial) })
}

// Error implements error. Of what an admission policy or a webhook says, it has who says so, and not what: their author may have had it
// quote the Secret.
func (e *refusedError) Error() string {
	text := e.err.Error()
	if status := apierrors.APIStatus(nil); errors.As(e.err, &status) {
		text = status.Status().Message
	}
	for _, verb := range denials {
		if who, _, ok := strings.Cut(text, verb); ok {
			text = who + verb
		}
	}
	return fmt.Sprintf("The API server does not let the controller write Secret %s: %s.", e.name, printable.Excerpt(strings.TrimRight(text, "."), mostQuoted))
}
func (e *refusedError) Unwrap() error { return e.err }

// mostQuoted is how many characters of what the API server says a message has.
const mostQuoted = 500

func (e *refusedError) outcome() *outcome {
	o := refused(keysv1alpha1.ReasonSecretRefused, e.Error())
	o.after = conflictPatience
	return o
}

func (e *foreignError) outcome() *outcome {
	if e.predecessor {
		return waiting(keysv1alpha1.ReasonAwaitingDeletion, e.Error(), predecessorPatience)
	}
	o := refused(keysv1alpha1.ReasonSecretConflict, e.Error())
	o.after = conflictPatience
	return o
}

func (s *secrets) get(ctx context.Context, namespace, name string) (existing, error) {
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

// holding returns the token in the Secret, if it is the one with the digest.
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

// belongsTo says whether the Secret is the key's: it is the key's in its owner reference or, where somebody has taken that
// away, in its label or by the token in it.
func (e existing) belongsTo(key *keysv1alpha1.ApiKey, digest string) bool {
	if owner := metav1.GetControllerOf(e.Secret); owner != nil {
		return owner.UID == key.UID
	}
	return e.Labels[uidLabel] == string(key.UID) || (digest != "" && e.holding(digest) != nil)
}

// isRight says whether the Secret is what it should be, as far as the cache has it: it was, and has not been changed since. A
// change that the cache does not have yet brings the key back. A round in which there is nothing to do, which most are, need
// not read the Secret for that.
func (s *secrets) isRight(ctx context.Context, key *keysv1alpha1.ApiKey, desired *corev1.Secret) bool {
	if s.metadata == nil {
		return false
	}
	known, ok := s.known(ctx, key)
	if !ok {
		return false
	}
	if seen, err := s.seen(ctx, client.ObjectKeyFromObject(desired)); err != nil || seen.ResourceVersion != known.resourceVersion {
		return false
	}
	sum, err := digestOf(desired)
	return err == nil && sum == known.content
}

// unseen says that the cache has no Secret of a name. One that it does not have yet brings its key back.
func (s *secrets) unseen(ctx context.Context, name client.ObjectKey) bool {
	if s.metadata == nil {
		return false
	}
	_, err := s.seen(ctx, name)
	return apierrors.IsNotFound(err)
}

// seen returns what the cache has of a Secret, where there is a cache.
func (s *secrets) seen(ctx context.Context, name client.ObjectKey) (*metav1.PartialObjectMetadata, error) {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	return secret, s.metadata.Get(ctx, name, secret)
}

// known returns what is known of a key's Secret.
func (s *secrets) known(ctx context.Context, key *keysv1alpha1.ApiKey) (right, bool) {
	s.mu.Lock()
	known, ok := s.right[key.UID]
	s.mu.Unlock()
	if ok {
		return known, true
	}
	s.survey(ctx, key.Namespace)
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok = s.right[key.UID]
	return known, ok
}

// noteRight remembers that a Secret is what it should be.
func (s *secrets) noteRight(key *keysv1alpha1.ApiKey, is, desired *corev1.Secret) {
	sum, err := digestOf(desired)
	if err != nil {
		return // It is read again, then.
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.right) >= mostRight {
		clear(s.right)
	}
	s.right[key.UID] = right{resourceVersion: is.ResourceVersion, content: sum}
}

func digestOf(desired *corev1.Secret) ([sha256.Size]byte, error) {
	content, err := desired.Marshal()
	return sha256.Sum256(content), err
}

// apply makes the Secret what it should be, if it is not. The error is a *foreignError where somebody else's is in the
// way, which is left as it is.
func (s *secrets) apply(ctx context.Context, key *keysv1alpha1.ApiKey, current existing, desired *corev1.Secret, digest string) error {
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
	merged.OwnerReferences = desired.OwnerReferences
	merged.Labels = merge(merged.Labels, desired.Labels)
	merged.Annotations = merge(merged.Annotations, desired.Annotations)
	merged.Data = desired.Data
	if equality.Semantic.DeepEqual(current.Secret, merged) {
		s.noteRight(key, current.Secret, desired)
		return nil
	}
	if err := s.overtaken(ctx, key); err != nil {
		return err
	}
	// The update carries the resourceVersion that was read.
	if err := s.client.Update(ctx, merged); err != nil {
		return refusedOr(desired.Name, fmt.Errorf("updating Secret %s: %w", desired.Name, err))
	}
	s.noteRight(key, merged, desired)
	return nil
}

// overtaken fails with a conflict where the key has changed since it was read: from an old picture of it, a token would be
// published that was rotated out or revoked since (S8). It is asked after the Secret was read and before it is written, so
// that whoever publishes another token in between changes the Secret's resourceVersion.
func (s *secrets) overtaken(ctx context.Context, key *keysv1alpha1.ApiKey) error {
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

func (s *secrets) create(ctx context.Context, key *keysv1alpha1.ApiKey, desired *corev1.Secret) error {
	created := desired.DeepCopy()
	if err := s.client.Create(ctx, created); err != nil {
		return refusedOr(desired.Name, fmt.Errorf("creating Secret %s: %w", desired.Name, err))
	}
	s.noteRight(key, created, desired)
	return nil
}

// remove deletes a key's Secret, and leaves one that isn't the key's.
func (s *secrets) remove(ctx context.Context, key *keysv1alpha1.ApiKey, name string) error {
	current, err := s.get(ctx, key.Namespace, name)
	if err != nil || current.Secret == nil || !current.belongsTo(key, "") {
		return err
	}
	return s.delete(ctx, current.Secret)
}

// delete deletes the very Secret that was read.
func (s *secrets) delete(ctx context.Context, secret *corev1.Secret) error {
	err := s.client.Delete(ctx, secret, client.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting Secret %s: %w", secret.Name, err)
	}
	return nil
}

func isPredecessors(secret *corev1.Secret, key *keysv1alpha1.ApiKey) bool {
	owner := metav1.GetControllerOf(secret)
	return owner != nil && owner.Kind == "ApiKey" && owner.APIVersion == keysv1alpha1.GroupVersion.String() && owner.Name == key.Name
}

// merge sets what is wanted and leaves the rest: others may label a Secret too.
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
