package keys

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// Follower has the functions that Follow calls with the keys of a namespace and their changes. The verifiers' canary is
// left out. An error that a function returns ends Follow.
type Follower struct {
	// Listed is called with each page of the list.
	Listed func(part []keysv1alpha1.ApiKey) error
	// Synced is called when all have been listed.
	Synced func() error
	// Changed is called with a key that was created or changed.
	Changed func(key *keysv1alpha1.ApiKey) error
	// Gone is called with a key that has been deleted.
	Gone func(key *keysv1alpha1.ApiKey) error
}

// Follow lists the keys of a namespace and then watches them, until the context ends or something goes wrong. Another
// call starts over with a list: the caller must forget what it knew.
func (c *Client) Follow(ctx context.Context, namespace string, f *Follower) error {
	version, err := c.listTo(ctx, namespace, f)
	if err != nil {
		return err
	}
	return c.watch(ctx, &keysv1alpha1.ApiKeyList{}, &client.ListOptions{Namespace: namespace}, version, f.handle)
}

// handle passes a change on.
func (f *Follower) handle(event watch.Event) (done bool, err error) {
	key, ok := event.Object.(*keysv1alpha1.ApiKey)
	switch {
	case !ok || keystate.IsCanary(key):
		return false, nil
	case event.Type == watch.Deleted:
		return false, f.Gone(key)
	}
	return false, f.Changed(key)
}

// listTo lists all keys, and returns the version of the list.
func (c *Client) listTo(ctx context.Context, namespace string, f *Follower) (version string, err error) {
	var page keysv1alpha1.ApiKeyList
	for {
		options := &client.ListOptions{Namespace: namespace, Limit: pageSize, Continue: page.Continue}
		if err := c.api.List(ctx, &page, options); err != nil {
			return "", err
		}
		if err := f.Listed(withoutCanary(page.Items)); err != nil {
			return "", err
		}
		if page.Continue == "" {
			return page.ResourceVersion, f.Synced()
		}
		page = keysv1alpha1.ApiKeyList{ListMeta: metav1.ListMeta{Continue: page.Continue}}
	}
}
