package keycache

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// Options returns the options of a cache that keeps what the controllers read again and again; and of Secrets only the
// metadata of the controller's own, in the namespaces that are served. None means all.
func Options(served []string, clk clock.PassiveClock) cache.Options {
	transform := newTransforms(clk)
	secrets := cache.ByObject{
		Label:     labels.SelectorFromSet(labels.Set{keysv1alpha1.ManagedByLabel: keysv1alpha1.ManagedByValue}),
		Transform: transform.secretStub,
	}
	for _, namespace := range served {
		secrets.Transform = transform.secretMetadata
		if secrets.Namespaces == nil {
			secrets.Namespaces = map[string]cache.Config{}
		}
		secrets.Namespaces[namespace] = cache.Config{}
	}
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}:       secrets,
			&keysv1alpha1.ApiKey{}: {Transform: transform.key},
		},
	}
}
