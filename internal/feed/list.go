package feed

import (
	"context"
	"fmt"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
)

// listInto reads a whole resource consistently into a store, which proves that everything committed before the list
// began has been applied.
func listInto(ctx context.Context, f *Feed, resource string, list runtime.Object, s stream, store cache.ReflectorStore) error {
	started := f.options.Clock()
	if err := f.client.Get().Resource(resource).Do(ctx).Into(list); err != nil {
		return fmt.Errorf("listing %s: %w", resource, err)
	}
	accessor, err := apimeta.ListAccessor(list)
	if err != nil {
		return err
	}
	objects, err := apimeta.ExtractList(list)
	if err != nil {
		return err
	}
	items := make([]any, len(objects))
	for i := range objects {
		items[i] = objects[i]
	}
	if err := store.Replace(items, accessor.GetResourceVersion()); err != nil {
		return err
	}
	f.freshness.prove(s, started)
	return nil
}
