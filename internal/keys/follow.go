package keys

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// Follower is told what the keys of a namespace are and how they change. The verifiers' canary is none. What one of its
// functions returns ends the following.
type Follower struct {
	// Listed is called with one part of the keys after another.
	Listed func(part []keysv1alpha1.ApiKey) error
	// Synced is called when all have been listed.
	Synced func() error
	// Changed is called with a key that is new, or another than before.
	Changed func(key *keysv1alpha1.ApiKey) error
	// Gone is called with a key that has been deleted.
	Gone func(key *keysv1alpha1.ApiKey) error
}

// Follow lists the keys of a namespace and then watches them, until the context ends or something goes wrong. Called again
// it begins from the start: whoever follows forgets then what it was told.
func (c *Client) Follow(ctx context.Context, namespace string, f *Follower) error {
	version, err := c.listTo(ctx, namespace, f)
	if err != nil {
		return err
	}
	return c.watch(ctx, &keysv1alpha1.ApiKeyList{}, &client.ListOptions{Namespace: namespace}, version, f.handle)
}

// handle tells of a change.
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

// listTo tells of all keys, and returns the version of the list.
func (c *Client) listTo(ctx context.Context, namespace string, f *Follower) (version string, err error) {
	var page keysv1alpha1.ApiKeyList
	for {
		if err := c.api.List(ctx, &page, &client.ListOptions{Namespace: namespace, Limit: pageSize, Continue: page.Continue}); err != nil {
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
