// Package rootkeys keeps the root keys, from which every token is derived: numbered, immutable Secrets in the
// controller's namespace. The newest one mints; the older ones still derive the tokens that they minted.
package rootkeys

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/redact"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// ErrGone reports that the root key of a number does not exist, or is not the one that a credential was minted from.
var ErrGone = errors.New("the root key is gone")

// rootDataKey is the entry of a root Secret that holds the key.
const rootDataKey = "key"

// Store reads root keys, and creates the first one.
type Store struct {
	client client.Client
	// watched reads root keys from a cache, so a root that somebody adds is used a moment later. With a live list, each
	// mint would wait until the API server has asked etcd whether its list is the latest, for up to 100 ms.
	watched client.Reader
	// live reads past the cache: only it can prove that there is no root key.
	live      client.Reader
	namespace string
	random    io.Reader

	mu    sync.Mutex
	known map[int32]token.Root
}

// New returns the root keys of a namespace.
func New(writer client.Client, watched, live client.Reader, namespace string) *Store {
	return &Store{client: writer, watched: watched, live: live, namespace: namespace, random: rand.Reader}
}

// Newest returns the root key with the highest number, and creates the first one if there is none.
func (s *Store) Newest(ctx context.Context) (int32, token.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, from := range []client.Reader{s.watched, s.live} {
		if err := s.list(ctx, from); err != nil {
			return 0, token.Root{}, err
		}
		if len(s.known) > 0 {
			break
		}
	}
	if len(s.known) == 0 {
		if err := s.create(ctx); err != nil {
			return 0, token.Root{}, err
		}
	}
	number := slices.Max(slices.Collect(maps.Keys(s.known)))
	return number, s.known[number], nil
}

// get returns the root key of a number. The error is ErrGone if there is none.
func (s *Store) get(ctx context.Context, number int32) (token.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if root, ok := s.known[number]; ok {
		return root, nil
	}
	if err := s.list(ctx, s.live); err != nil {
		return token.Root{}, err
	}
	root, ok := s.known[number]
	if !ok {
		return token.Root{}, ErrGone
	}
	return root, nil
}

// Derive returns a credential's token. The error is ErrGone if the root key is gone, or is a different one: a token
// derived from that is not the announced one, and must never take its place under the same id (S4).
func (s *Store) Derive(
	ctx context.Context, key *keysv1alpha1.ApiKey, credential *keysv1alpha1.Credential,
) (token.Token, error) {
	root, err := s.get(ctx, credential.Root)
	if err != nil {
		return token.Token{}, err
	}
	format := token.Format(key.Status.Prefix[:len(key.Status.Prefix)-token.IDLength])
	derived, err := token.Derive(root, format, string(key.UID), credential.ID)
	if err != nil {
		return token.Token{}, err
	}
	if derived.Digest().String() != credential.Digest {
		return token.Token{}, ErrGone
	}
	return derived, nil
}

// list reads the root keys.
func (s *Store) list(ctx context.Context, from client.Reader) error {
	list := &corev1.SecretList{}
	err := from.List(ctx, list, client.InNamespace(s.namespace), client.HasLabels{keysv1alpha1.RootLabel})
	if err != nil {
		return fmt.Errorf("listing the root keys in namespace %s: %w", s.namespace, err)
	}
	known := make(map[int32]token.Root, len(list.Items))
	for i := range list.Items {
		secret := &list.Items[i]
		number, err := strconv.ParseInt(secret.Labels[keysv1alpha1.RootLabel], 10, 32)
		if err != nil || number < 1 || secret.Name != Name(int32(number)) {
			return fmt.Errorf(
				"secret %s/%s has the label %s=%s, which belongs on a Secret named %s: correct or remove the label",
				secret.Namespace, secret.Name, keysv1alpha1.RootLabel, secret.Labels[keysv1alpha1.RootLabel], Name(1))
		}
		root, err := token.RootFrom(secret.Data[rootDataKey])
		if err != nil {
			return fmt.Errorf("secret %s/%s, data.%s: %w", secret.Namespace, secret.Name, rootDataKey, err)
		}
		known[int32(number)] = root
	}
	s.known = known
	return nil
}

// create creates a root key. If several controllers try, one succeeds and the others read its key. The number is higher
// than any that a credential names, so that credentials of a lost root are never attributed to the new one (S4).
func (s *Store) create(ctx context.Context) error {
	keys := &keysv1alpha1.ApiKeyList{}
	if err := s.live.List(ctx, keys); err != nil {
		return fmt.Errorf("listing keys for the numbers of their roots: %w", err)
	}
	number := int32(1)
	for i := range keys.Items {
		for _, credential := range keys.Items[i].Status.Credentials {
			number = max(number, credential.Root+1)
		}
	}
	root, err := token.NewRoot(s.random)
	if err != nil {
		return err
	}
	immutable := true
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name:      Name(number),
			Namespace: s.namespace,
			Labels:    map[string]string{keysv1alpha1.RootLabel: strconv.Itoa(int(number))},
		},
		Immutable: &immutable,
		Data:      map[string][]byte{rootDataKey: root.Bytes()},
	}
	if err := s.client.Create(ctx, secret); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating root key %s in namespace %s: %w", secret.Name, s.namespace, redact.Error(err))
	}
	if err := s.list(ctx, s.live); err != nil {
		return err
	}
	if len(s.known) == 0 {
		return fmt.Errorf("secret %s/%s is there and is no root key (it lacks the label %s): remove or rename it",
			s.namespace, secret.Name, keysv1alpha1.RootLabel)
	}
	return nil
}

// Name returns the name of the Secret that holds the root key of a number.
func Name(number int32) string { return "apikey-root-" + strconv.Itoa(int(number)) }
