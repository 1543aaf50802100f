package publication

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// prefetchPage is how many Secrets are read at a time.
const prefetchPage = 500

// prefetch is one read of all Secrets of a namespace.
type prefetch struct{ once sync.Once }

// prefetch reads all of the controller's Secrets in a namespace, once in the life of the process, and records their
// content: a controller that starts reconciles every key, and a list of 500 Secrets costs the API server less than a
// few reads. A Secret that is not in the list, or has changed since, is read individually.
func (s *Store) prefetch(ctx context.Context, namespace string) {
	s.mu.Lock()
	this := s.prefetches[namespace]
	if this == nil {
		this = &prefetch{}
		s.prefetches[namespace] = this
	}
	s.mu.Unlock()
	this.once.Do(func() {
		if err := s.readAll(ctx, namespace); err != nil {
			log.FromContext(ctx).V(1).Info("The namespace's Secrets could not be read together: each is read by itself",
				"error", err.Error())
		}
	})
}

func (s *Store) readAll(ctx context.Context, namespace string) error {
	managed := client.MatchingLabels{keysv1alpha1.ManagedByLabel: keysv1alpha1.ManagedByValue}
	for page := (&corev1.SecretList{}); ; {
		err := s.live.List(ctx, page, client.InNamespace(namespace), managed,
			client.Limit(prefetchPage), client.Continue(page.Continue))
		if err != nil {
			return err
		}
		for i := range page.Items {
			s.recordFound(&page.Items[i])
		}
		if page.Continue == "" {
			return nil
		}
	}
}

// recordFound records the content of a Secret, unless something is recorded already: whoever wrote or read it since
// knows better.
func (s *Store) recordFound(secret *corev1.Secret) {
	owner := metav1.GetControllerOf(secret)
	if owner == nil {
		return
	}
	sum, err := contentHash(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: secret.Namespace, Name: secret.Name,
			Labels: secret.Labels, Annotations: secret.Annotations, OwnerReferences: secret.OwnerReferences,
		},
		Type: secret.Type, Immutable: secret.Immutable, Data: secret.Data,
	})
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.applied[owner.UID]; !ok && len(s.applied) < maxApplied {
		s.applied[owner.UID] = applied{resourceVersion: secret.ResourceVersion, content: sum}
	}
}
