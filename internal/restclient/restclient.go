// Package restclient makes REST clients that know a single API group. Client-go's typed clients link every kind of
// Kubernetes, and much of that stays in memory for as long as the process runs.
package restclient

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// ForGroup returns a client for the kinds of one API group, which addToScheme registers. It does not change config.
func ForGroup(
	config *rest.Config, group schema.GroupVersion, addToScheme func(*runtime.Scheme) error,
) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := addToScheme(scheme); err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	config.GroupVersion = &group
	config.APIPath = "/apis"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("making a client for the API server at %s: %w", config.Host, err)
	}
	return client, nil
}
