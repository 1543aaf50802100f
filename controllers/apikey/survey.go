package apikey

import (
	"context"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// surveyPage is how many Secrets are read at a time.
const surveyPage = 500

// survey is of a namespace's Secrets.
type survey struct{ once sync.Once }

// survey reads all of the controller's Secrets in a namespace, once in the life of the process, and remembers what is in each: a
// controller that starts looks at every key, and a list of 500 Secrets costs the API server less than a few reads. One that is
// not found by it, or has changed since, is read by itself.
func (s *secrets) survey(ctx context.Context, namespace string) {
	s.mu.Lock()
	this := s.surveys[namespace]
	if this == nil {
		this = &survey{}
		s.surveys[namespace] = this
	}
	s.mu.Unlock()
	this.once.Do(func() {
		if err := s.readAll(ctx, namespace); err != nil {
			log.FromContext(ctx).V(1).Info("The namespace's Secrets could not be read together: each is read by itself", "error", err.Error())
		}
	})
}

func (s *secrets) readAll(ctx context.Context, namespace string) error {
	for page := (&corev1.SecretList{}); ; {
		err := s.live.List(ctx, page, client.InNamespace(namespace), client.Limit(surveyPage), client.Continue(page.Continue),
			client.MatchingLabels{keysv1alpha1.ManagedByLabel: keysv1alpha1.ManagedByValue})
		if err != nil {
			return err
		}
		for i := range page.Items {
			s.noteFound(&page.Items[i])
		}
		if page.Continue == "" {
			return nil
		}
	}
}

// noteFound remembers what is in a Secret, where nothing is known of it yet: whoever has made or read it since knows better.
func (s *secrets) noteFound(secret *corev1.Secret) {
	owner := metav1.GetControllerOf(secret)
	if owner == nil {
		return
	}
	sum, err := digestOf(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: secret.Namespace, Name: secret.Name, Labels: secret.Labels, Annotations: secret.Annotations, OwnerReferences: secret.OwnerReferences,
		},
		Type: secret.Type, Immutable: secret.Immutable, Data: secret.Data,
	})
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.right[owner.UID]; !ok && len(s.right) < mostRight {
		s.right[owner.UID] = right{resourceVersion: secret.ResourceVersion, content: sum}
	}
}
