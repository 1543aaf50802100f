package explore_test

import (
	"context"
	"fmt"
	"slices"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// kind is a kind of object that a run records.
type kind string

const (
	keyKind    kind = "ApiKey"
	tenantKind kind = "Tenant"
	secretKind kind = "Secret"
	// leaseKind is the Lease in which controllers keep the verifiers that they know, and canaryKind the ApiKey on which
	// verifiers report.
	leaseKind  kind = "Lease"
	canaryKind kind = "canary"
	// namespaceKind is only ever written by users.
	namespaceKind kind = "Namespace"
)

// write is a write that a controller is about to make.
type write struct {
	verb string
	kind kind
	name string
	// send makes the write, or with dryRun asks the API server what would become of it.
	send func(options ...dryRun) error
	// answer is the result that the controller gets.
	answer error
}

func (w *write) String() string { return fmt.Sprintf("%s %s %s", w.verb, w.kind, w.name) }

// conflict is the API server's answer to a write that another has overtaken.
func (w *write) conflict() error {
	return apierrors.NewConflict(schema.GroupResource{Resource: string(w.kind)}, w.name,
		fmt.Errorf("the explorer says so"))
}

// dryRun is client.DryRunAll, in the shape that every kind of write takes.
type dryRun interface {
	client.CreateOption
	client.UpdateOption
	client.PatchOption
	client.DeleteOption
	client.SubResourceUpdateOption
	client.SubResourcePatchOption
}

var dryRunAll dryRun = client.DryRunAll

// stoppable is a controller's client. It reads from a cache, which may be behind, and stops at every write.
type stoppable struct {
	client.Client // What isn't overridden here, no controller of ours uses.

	run *run
}

func (c *stoppable) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	return c.propose(ctx, "create", obj, func(dry ...dryRun) error {
		return c.Client.Create(ctx, obj, with(opts, dry)...)
	})
}

func (c *stoppable) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	return c.propose(ctx, "update", obj, func(dry ...dryRun) error {
		return c.Client.Update(ctx, obj, with(opts, dry)...)
	})
}

func (c *stoppable) Patch(ctx context.Context, obj client.Object, patch client.Patch,
	opts ...client.PatchOption) error {
	return c.propose(ctx, "patch", obj, func(dry ...dryRun) error {
		return c.Client.Patch(ctx, obj, patch, with(opts, dry)...)
	})
}

func (c *stoppable) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	return c.propose(ctx, "delete", obj, func(dry ...dryRun) error {
		return c.Client.Delete(ctx, obj, with(opts, dry)...)
	})
}

// Status returns a writer that stops at every write, too.
func (c *stoppable) Status() client.SubResourceWriter {
	return &stoppableStatus{SubResourceWriter: c.Client.Status(), client: c}
}

type stoppableStatus struct {
	client.SubResourceWriter

	client *stoppable
}

func (s *stoppableStatus) Update(ctx context.Context, obj client.Object, opts ...client.SubResourceUpdateOption) error {
	return s.client.propose(ctx, "update status of", obj, func(dry ...dryRun) error {
		return s.SubResourceWriter.Update(ctx, obj, with(opts, dry)...)
	})
}

func (s *stoppableStatus) Patch(ctx context.Context, obj client.Object, patch client.Patch,
	opts ...client.SubResourcePatchOption) error {
	return s.client.propose(ctx, "patch status of", obj, func(dry ...dryRun) error {
		return s.SubResourceWriter.Patch(ctx, obj, patch, with(opts, dry)...)
	})
}

func with[O any](options []O, dry []dryRun) []O {
	options = slices.Clone(options)
	for _, d := range dry {
		options = append(options, any(d).(O))
	}
	return options
}

// propose stops the task until the run has answered the write.
func (c *stoppable) propose(ctx context.Context, verb string, obj client.Object, send func(...dryRun) error) error {
	w := &write{verb: verb, name: obj.GetName(), send: send}
	switch obj.(type) {
	case *keysv1alpha1.ApiKey:
		w.kind = keyKind
		if obj.GetNamespace() == c.run.system {
			w.kind = canaryKind
		}
	case *coordinationv1.Lease:
		w.kind = leaseKind
	case *keysv1alpha1.Tenant:
		w.kind = tenantKind
	case *corev1.Secret:
		w.kind = secretKind
	default:
		return fmt.Errorf("the explorer does not know what %T is", obj)
	}
	if !taskOf(ctx).yield(w) {
		panic(stopped{})
	}
	return w.answer
}

// Get reads from the cache.
func (c *stoppable) Get(ctx context.Context, name client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	seen := c.run.seenBy(taskOf(ctx))
	switch out := obj.(type) {
	case *keysv1alpha1.ApiKey:
		if key := seen.key(name.Name); key != nil && name.Namespace == c.run.namespace {
			key.DeepCopyInto(out)
			return nil
		}
	case *corev1.Namespace:
		if name.Name == seen.namespace.Name {
			seen.namespace.DeepCopyInto(out)
			return nil
		}
	default:
		return fmt.Errorf("%T is not cached", obj)
	}
	return apierrors.NewNotFound(schema.GroupResource{Resource: "cached"}, name.Name)
}

// List reads from the cache.
func (c *stoppable) List(ctx context.Context, list client.ObjectList, _ ...client.ListOption) error {
	seen := c.run.seenBy(taskOf(ctx))
	switch out := list.(type) {
	case *keysv1alpha1.TenantList:
		(&keysv1alpha1.TenantList{Items: seen.tenants}).DeepCopyInto(out)
	case *keysv1alpha1.AccessPolicyList:
		(&keysv1alpha1.AccessPolicyList{Items: []keysv1alpha1.AccessPolicy{*c.run.testbed.policy}}).DeepCopyInto(out)
	default:
		return fmt.Errorf("%T is not cached", list)
	}
	return nil
}

// live reads past the cache. Of ApiKeys it shows this run's, as if others were in other clusters.
type live struct {
	client.Reader

	namespace string
}

func (l *live) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if _, ok := list.(*keysv1alpha1.ApiKeyList); ok {
		opts = append(slices.Clone(opts), client.InNamespace(l.namespace))
	}
	return l.Reader.List(ctx, list, opts...)
}
