package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/certificates"
)

// certificateCache is a cache of the certificates that the controller signs itself, and of nothing else. A manager
// starts it in every replica, because a replica that does not lead serves metrics too.
type certificateCache struct{ cache.Cache }

// GetCache makes the manager start it like its own cache, and wait for it.
func (c certificateCache) GetCache() cache.Cache { return c }

// newCertificateCache returns a cache of the objects with certificates, or nil if the controller does not sign any.
func newCertificateCache(o options, config *rest.Config, scheme *runtime.Scheme) (cache.Cache, error) {
	if !o.selfSigned {
		return nil, nil
	}
	ours, err := labels.NewRequirement(keysv1alpha1.CertificateLabel, selection.Exists, nil)
	if err != nil {
		return nil, err
	}
	// RBAC grants access to this name only.
	bundle := fields.OneTermEqualSelector("metadata.name", certificates.BundleName)
	watched, err := cache.New(config, cache.Options{
		Scheme:            scheme,
		DefaultNamespaces: map[string]cache.Config{o.namespace: {}},
		DefaultTransform:  cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}:    {Label: labels.NewSelector().Add(*ours)},
			&corev1.ConfigMap{}: {Field: bundle},
		},
		ReaderFailOnMissingInformer: true,
	})
	if err != nil {
		return nil, err
	}
	if _, err := watched.GetInformer(context.Background(), &corev1.Secret{}, cache.BlockUntilSynced(false)); err != nil {
		return nil, fmt.Errorf("watching certificates in namespace %s: %w", o.namespace, err)
	}
	return watched, nil
}

// registerCertificates adds the controller that signs certificates to a manager, if the flags ask for it.
func registerCertificates(o options, m manager.Manager, watched cache.Cache) error {
	if !o.selfSigned {
		return nil
	}
	if err := m.Add(certificateCache{watched}); err != nil {
		return err
	}
	return certificates.NewController(certificates.Options{
		Client: m.GetClient(), Live: m.GetAPIReader(), Clock: clock.RealClock{}, Log: ctrl.Log.WithName("certificates"),
		Namespace: o.namespace, Serving: certificates.Serving, Lifetimes: certificates.DefaultLifetimes,
	}).Register(m, watched)
}
