package controlplane

import (
	"context"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// StopAPIServer stops kube-apiserver. Its objects stay in etcd.
func (cp *ControlPlane) StopAPIServer() error { return cp.env.ControlPlane.GetAPIServer().Stop() }

// StartAPIServer starts kube-apiserver again, at the same address and with the same identity, and waits until it is
// healthy.
func (cp *ControlPlane) StartAPIServer() error {
	return cp.options.start(cp.env.ControlPlane.GetAPIServer().Start)
}

// Compact makes etcd forget all earlier revisions: a watch from an older resourceVersion gets 410 Gone once the API
// server has forgotten it, too, as it does when it is restarted.
func (cp *ControlPlane) Compact(ctx context.Context) error {
	list := &keysv1alpha1.ApiKeyList{}
	if err := cp.Client.List(ctx, list); err != nil {
		return err
	}
	revision, err := strconv.ParseInt(list.ResourceVersion, 10, 64)
	if err != nil {
		return err
	}
	return cp.etcd(ctx, "compaction", map[string]any{"revision": revision, "physical": true}, nil)
}

// Remembers reports whether a watch of ApiKeys can be resumed at a resourceVersion.
func (cp *ControlPlane) Remembers(ctx context.Context, resourceVersion string) bool {
	options := &metav1.ListOptions{ResourceVersion: resourceVersion}
	watcher, err := cp.Client.Watch(ctx, &keysv1alpha1.ApiKeyList{}, &client.ListOptions{Raw: options})
	if err != nil {
		return false
	}
	defer watcher.Stop()
	event, ok := <-watcher.ResultChan()
	_, isKey := event.Object.(*keysv1alpha1.ApiKey)
	return ok && isKey
}
