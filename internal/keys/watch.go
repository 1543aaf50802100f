package keys

import (
	"context"
	"io"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// watch passes on every event of a kind from a version on, until handle is done or fails, the context ends, or the API
// server can't be asked. A watch that the API server closes is continued where it ended: client-go's RetryWatcher does
// that, at most once a second.
//
// An error of the API server's ends it, even one after which RetryWatcher would try again: the caller decides.
func (c *Client) watch(
	ctx context.Context,
	list client.ObjectList,
	options *client.ListOptions,
	version string,
	handle func(watch.Event) (done bool, err error),
) error {
	watching, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	source := watchFunc(func(ctx context.Context, wanted metav1.ListOptions) (watch.Interface, error) {
		from := *options
		from.Raw = &wanted
		events, err := c.api.Watch(ctx, list, &from)
		if err != nil {
			fail(err)
			return nil, io.EOF // RetryWatcher would log any other error. It stops, because its context has ended.
		}
		return events, nil
	})
	watcher, err := watchtools.NewRetryWatcherWithContext(watching, version, source)
	if err != nil {
		return err
	}
	for event := range watcher.ResultChan() {
		if event.Type == watch.Error {
			return apierrors.FromObject(event.Object)
		}
		if done, err := handle(event); done || err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return context.Cause(watching)
}

// watchFunc starts a watch. It implements cache.WatcherWithContext.
type watchFunc func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error)

// WatchWithContext implements cache.WatcherWithContext.
func (f watchFunc) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	return f(ctx, options)
}
