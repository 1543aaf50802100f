package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/certificates"
)

// certificateCache watches the objects of the certificates that the controller signs itself, and nothing else of their namespace. A
// replica that doesn't lead has it too, for its own metrics.
type certificateCache struct{ cache.Cache }

// GetCache has the manager start it as a cache, and wait for it.
func (c certificateCache) GetCache() cache.Cache { return c }

// newCertificates has a manager sign certificates, where the flags ask for it.
func newCertificates(o options, m manager.Manager, own *certificates.Own) error {
	if !o.selfSigned {
		return nil
	}
	ours, err := labels.NewRequirement(keysv1alpha1.CertificateLabel, selection.Exists, nil)
	if err != nil {
		return err
	}
	watched, err := cache.New(m.GetConfig(), cache.Options{
		HTTPClient: m.GetHTTPClient(), Scheme: m.GetScheme(), Mapper: m.GetRESTMapper(),
		DefaultNamespaces: map[string]cache.Config{o.namespace: {}},
		DefaultTransform:  cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Secret{}:    {Label: labels.NewSelector().Add(*ours)},
			&corev1.ConfigMap{}: {Field: fields.OneTermEqualSelector("metadata.name", certificates.BundleName)}, // RBAC names it.
		},
		ReaderFailOnMissingInformer: true,
	})
	if err != nil {
		return err
	}
	if _, err := watched.GetInformer(context.Background(), &corev1.Secret{}, cache.BlockUntilSynced(false)); err != nil {
		return fmt.Errorf("watching certificates in namespace %s: %w", o.namespace, err)
	}
	own.ReadFrom(watched)
	if err := m.Add(certificateCache{watched}); err != nil {
		return err
	}
	return certificates.NewController(certificates.Options{
		Client: m.GetClient(), Live: m.GetAPIReader(), Clock: clock.RealClock{}, Log: ctrl.Log.WithName("certificates"),
		Namespace: o.namespace, Serving: certificates.Serving, Lifetimes: certificates.DefaultLifetimes,
	}).Register(m, watched)
}
