package controlplane

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// Follow returns every state that the ApiKeys of a namespace are in from now on, in the order of the commits. A watch
// that the server closes is resumed where it ended. The channel is closed when the context ends.
func (cp *ControlPlane) Follow(ctx context.Context, namespace string) (<-chan *keysv1alpha1.ApiKey, error) {
	list := &keysv1alpha1.ApiKeyList{}
	if err := cp.Client.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("following ApiKeys: %w", err)
	}
	states := make(chan *keysv1alpha1.ApiKey)
	go func() {
		defer close(states)
		for version := list.ResourceVersion; ctx.Err() == nil; {
			version = cp.followFrom(ctx, namespace, version, states)
		}
	}()
	return states, nil
}

// followFrom sends the events of one watch to the channel, and returns the resourceVersion that it came to.
func (cp *ControlPlane) followFrom(ctx context.Context, namespace, version string,
	states chan<- *keysv1alpha1.ApiKey) string {
	watcher, err := cp.Client.Watch(ctx, &keysv1alpha1.ApiKeyList{}, client.InNamespace(namespace),
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}})
	if err != nil {
		return version // It is tried again until the context ends.
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		key, ok := event.Object.(*keysv1alpha1.ApiKey)
		if !ok {
			return version
		}
		version = key.ResourceVersion
		select {
		case states <- key:
		case <-ctx.Done():
			return version
		}
	}
	return version
}
