package explore_test

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// state is all of a run's objects at one moment. It is immutable.
type state struct {
	keys      []keysv1alpha1.ApiKey
	tenants   []keysv1alpha1.Tenant
	namespace *corev1.Namespace
	secrets   []corev1.Secret
	// keysAt is the resourceVersion up to which keys holds every change.
	keysAt string
	// version shows which states have the same objects of a part.
	version map[part]int
}

// part is what one informer holds.
type part string

const (
	keysPart      part = "keys"
	tenantsPart   part = "tenants"
	namespacePart part = "namespace"
	secretsPart   part = "secrets"
)

func (s *state) key(name string) *keysv1alpha1.ApiKey {
	for i := range s.keys {
		if s.keys[i].Name == name {
			return &s.keys[i]
		}
	}
	return nil
}

func (s *state) keyByUID(uid types.UID) *keysv1alpha1.ApiKey {
	for i := range s.keys {
		if s.keys[i].UID == uid {
			return &s.keys[i]
		}
	}
	return nil
}

func (s *state) tenant(name string) *keysv1alpha1.Tenant {
	for i := range s.tenants {
		if s.tenants[i].Name == name {
			return &s.tenants[i]
		}
	}
	return nil
}

func (s *state) secret(name string) *corev1.Secret {
	for i := range s.secrets {
		if s.secrets[i].Name == name {
			return &s.secrets[i]
		}
	}
	return nil
}

// with returns a state in which some parts are as they were in an earlier one.
func (s *state) with(earlier *state, parts ...part) *state {
	mixed := *s
	for _, p := range parts {
		switch p {
		case keysPart:
			mixed.keys = earlier.keys
		case tenantsPart:
			mixed.tenants = earlier.tenants
		case namespacePart:
			mixed.namespace = earlier.namespace
		case secretsPart:
			mixed.secrets = earlier.secrets
		}
	}
	return &mixed
}

func (r *run) latest() *state { return r.history[len(r.history)-1] }

// seenBy returns what a task's cache shows.
func (r *run) seenBy(t *task) *state {
	if t.seen != nil {
		return t.seen
	}
	return r.latest()
}

// observe reads what a write may have changed, and adds it to the history if it has changed.
func (r *run) observe(changed kind) {
	now := *r.latest()
	now.version = maps.Clone(r.latest().version)
	switch changed {
	case keyKind:
		list := &keysv1alpha1.ApiKeyList{}
		r.must(r.testbed.cp.Client.List(r.ctx, list, client.InNamespace(r.namespace)))
		if slices.EqualFunc(list.Items, now.keys, sameVersion[*keysv1alpha1.ApiKey]) {
			return
		}
		now.keys, now.keysAt = list.Items, list.ResourceVersion
		now.version[keysPart]++
	case tenantKind:
		tenants := make([]keysv1alpha1.Tenant, len(r.tenants))
		for i, name := range r.tenants {
			r.must(r.testbed.cp.Client.Get(r.ctx, client.ObjectKey{Name: name}, &tenants[i]))
		}
		if slices.EqualFunc(tenants, now.tenants, sameVersion[*keysv1alpha1.Tenant]) {
			return
		}
		now.tenants = tenants
		now.version[tenantsPart]++
	case leaseKind, canaryKind:
		return // It belongs to no key.
	case secretKind:
		list := &corev1.SecretList{}
		r.must(r.testbed.cp.Client.List(r.ctx, list, client.InNamespace(r.namespace)))
		if slices.EqualFunc(list.Items, now.secrets, sameVersion[*corev1.Secret]) {
			return
		}
		now.secrets = list.Items
		now.version[secretsPart]++
	default:
		namespace := &corev1.Namespace{}
		r.must(r.testbed.cp.Client.Get(r.ctx, client.ObjectKey{Name: r.namespace}, namespace))
		now.namespace = namespace
		now.version[namespacePart]++
	}
	r.history = append(r.history, &now)
}

// pointer is a pointer to a struct that is an object.
type pointer[T any] interface {
	*T
	metav1.Object
}

func sameVersion[P pointer[T], T any](a, b T) bool {
	return P(&a).GetUID() == P(&b).GetUID() && P(&a).GetResourceVersion() == P(&b).GetResourceVersion()
}
