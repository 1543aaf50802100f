package docs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/pages"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// start is what every section starts from: the samples and the examples, and one root key.
type start struct {
	objects []*unstructured.Unstructured
	// state is what restored had made when it ended.
	state string
}

// newStart applies the samples and the examples as a reader would, and waits until every key is Ready.
func newStart(t *testing.T, r *reader, examples []pages.Block) *start {
	t.Helper()
	manifests := install.Kubectl(t, r.ControlPlane, "kustomize", install.Config("samples"))
	for _, b := range examples {
		manifests += fmt.Sprintf("\n---\n# %s\n%s", b, b.Text)
	}
	r.run(t, "kubectl apply -f - <<'END'\n"+manifests+"\nEND")
	s := &start{objects: readObjects(t, manifests)}
	s.ready(t, r)
	return s
}

// readObjects returns the objects of manifests. Each has the annotation that kubectl apply would give it, which asks
// for it where it is applied again.
func readObjects(t *testing.T, manifests string) (objects []*unstructured.Unstructured) {
	t.Helper()
	for decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096); ; {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatal(err)
		}
		if len(object.Object) == 0 {
			continue
		}
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		annotations := object.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[corev1.LastAppliedConfigAnnotation] = string(text)
		object.SetAnnotations(annotations)
		objects = append(objects, object)
	}
}

// restore brings the cluster back to the start, unless nothing has changed since. It does what a reader would do with
// kubectl, whose processes would take longer than most sections.
func (s *start) restore(t *testing.T, r *reader) {
	t.Helper()
	if currentState(t, r) == s.state {
		return
	}
	for _, list := range []client.ObjectList{
		&keysv1alpha1.ApiKeyList{}, &keysv1alpha1.TenantList{}, &keysv1alpha1.AccessPolicyList{},
	} {
		s.deleteAll(t, r, list)
	}
	s.deleteAll(t, r, &corev1.SecretList{}, client.InNamespace(controlplane.SystemNamespace),
		client.HasLabels{"keys.nexuscommerce.io/root"})
	for _, object := range s.objects {
		if err := apply(t, r, object.DeepCopy()); err != nil {
			t.Fatal(err)
		}
	}
	s.ready(t, r)
}

// ready waits until every key is Ready, and keeps what there is.
func (s *start) ready(t *testing.T, r *reader) {
	t.Helper()
	program.WaitUntil(t, timeout, "every key Ready", func() error { return r.allReady(t.Context()) })
	s.state = currentState(t, r)
}

// deleteAll deletes the objects of a list, but for the canary, and waits until they are gone.
func (s *start) deleteAll(t *testing.T, r *reader, list client.ObjectList, options ...client.ListOption) {
	t.Helper()
	program.WaitUntil(t, timeout, "objects deleted", func() error {
		if err := r.Client.List(t.Context(), list, options...); err != nil {
			return err
		}
		left := 0
		err := apimeta.EachListItem(list, func(item runtime.Object) error {
			object := item.(client.Object)
			if object.GetName() == keysv1alpha1.CanaryName {
				return nil
			}
			left++
			if !object.GetDeletionTimestamp().IsZero() {
				return nil
			}
			return client.IgnoreNotFound(r.Client.Delete(t.Context(), object))
		})
		if err == nil && left > 0 {
			err = fmt.Errorf("%d are left", left)
		}
		return err
	})
}

// apply creates an object, or makes it what its manifest says, under the name of kubectl apply.
func apply(t *testing.T, r *reader, object *unstructured.Unstructured) error {
	const owner = client.FieldOwner("kubectl-client-side-apply")
	content, err := json.Marshal(object)
	if err != nil {
		return err
	}
	if err := r.Client.Create(t.Context(), object, owner); !apierrors.IsAlreadyExists(err) {
		return err
	}
	return r.Client.Patch(t.Context(), object, client.RawPatch(types.MergePatchType, content), owner)
}

// currentState identifies what a start is made of. What programs note about an object is no part of it.
func currentState(t *testing.T, r *reader) string {
	t.Helper()
	var all bytes.Buffer
	for _, list := range []client.ObjectList{
		&keysv1alpha1.ApiKeyList{}, &keysv1alpha1.TenantList{}, &keysv1alpha1.AccessPolicyList{}, &corev1.SecretList{},
	} {
		if err := r.Client.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		if err := apimeta.EachListItem(list, func(item runtime.Object) error {
			object := item.(client.Object)
			fmt.Fprintln(&all, object.GetUID(), object.GetGeneration(), object.GetLabels(), object.GetAnnotations())
			if secret, ok := item.(*corev1.Secret); ok {
				fmt.Fprintln(&all, secret.ResourceVersion)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}
