package keys

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// pause is how long at least a watch takes: one that the API server ends at once is not taken up at once.
const pause = time.Second

// Follow lists the keys of a namespace and then watches them, until the context ends or something goes wrong. Called again
// it begins from the start: whoever follows forgets then what it was told.
func (c *Client) Follow(ctx context.Context, namespace string, f *Follower) error {
	version, err := c.listTo(ctx, namespace, f)
	for err == nil {
		version, err = c.watchTo(ctx, namespace, version, f)
	}
	return err
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

// watchTo tells of changes since a version until the API server ends the watch, and returns the version to go on from.
func (c *Client) watchTo(ctx context.Context, namespace, version string, f *Follower) (string, error) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	watcher, err := c.api.Watch(ctx, &keysv1alpha1.ApiKeyList{}, &client.ListOptions{
		Namespace: namespace, Raw: &metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true},
	})
	if err != nil {
		return version, err
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		if event.Type == watch.Error {
			return version, apierrors.FromObject(event.Object)
		}
		key, ok := event.Object.(*keysv1alpha1.ApiKey)
		if !ok {
			continue
		}
		version = key.ResourceVersion
		switch {
		case event.Type == watch.Bookmark || keystate.IsCanary(key):
		case event.Type == watch.Deleted:
			err = f.Gone(key)
		default:
			err = f.Changed(key)
		}
		if err != nil {
			return version, err
		}
	}
	select {
	case <-ctx.Done():
		return version, ctx.Err()
	case <-timer.C:
		return version, nil
	}
}
