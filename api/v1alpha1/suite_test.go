package v1alpha1_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

var cp *controlplane.ControlPlane

func TestKinds(t *testing.T) {
	need.ControlPlane(t)
	RegisterFailHandler(Fail)
	RunSpecs(t, "Kinds")
}

var _ = BeforeSuite(func() {
	var err error
	cp, err = controlplane.Start(controlplane.Options{})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(cp.Stop()).To(Succeed()) })
})

// tryCreate creates an object in a dry run, and returns it as it would be stored.
func tryCreate(ctx context.Context, object client.Object) error {
	return cp.Client.Create(ctx, object, client.DryRunAll)
}

// create creates an object, and deletes it at the end of the spec.
func create(ctx context.Context, object client.Object) {
	GinkgoHelper()
	object.SetName("")
	object.SetGenerateName("example-")
	Expect(cp.Client.Create(ctx, object)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(cp.Client.Delete(ctx, object)).To(Succeed()) })
}

// reread returns an object as it is stored now.
func reread[T client.Object](ctx context.Context, object T) T {
	GinkgoHelper()
	stored := object.DeepCopyObject().(T)
	Expect(cp.Client.Get(ctx, client.ObjectKeyFromObject(object), stored)).To(Succeed())
	return stored
}

// with returns an object with one field set to a value that the Go types may not be able to express. A nil value
// removes the field.
func with(object client.Object, value any, fields ...string) *unstructured.Unstructured {
	GinkgoHelper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	Expect(err).NotTo(HaveOccurred())
	gvk, err := cp.Client.GroupVersionKindFor(object)
	Expect(err).NotTo(HaveOccurred())
	raw := &unstructured.Unstructured{Object: content}
	raw.SetGroupVersionKind(gvk)
	if value == nil {
		unstructured.RemoveNestedField(raw.Object, fields...)
	} else {
		Expect(unstructured.SetNestedField(raw.Object, value, fields...)).To(Succeed())
	}
	return raw
}

// beRefusedWith matches the error about an object that is invalid in one way. The API server writes it in one line,
// which starts with the field's path.
func beRefusedWith(line string) types.GomegaMatcher {
	return WithTransform(problems, ConsistOf(HavePrefix(line)))
}

// accepted is the text that beRefusedWith compares if there is no error.
const accepted = "(accepted)"

// beRefusedAsTooShort matches the error about an object in which one string is empty. The error's other lines must be
// about that string too.
func beRefusedAsTooShort(path string) types.GomegaMatcher {
	return WithTransform(problems, SatisfyAll(
		ContainElement(HaveSuffix(" in body should be at least 1 chars long")),
		HaveEach(HavePrefix(path+": ")),
	))
}

// problems returns the lines of the error about an invalid object.
func problems(err error) []string {
	if err == nil {
		return []string{accepted}
	}
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
		return []string{err.Error()}
	}
	var lines []string
	for _, cause := range status.Status().Details.Causes {
		if cause.Field == "<nil>" {
			continue // "some validation rules were not checked": there is another line, which says why.
		}
		lines = append(lines, cause.Field+": "+cause.Message)
	}
	return lines
}

// many returns a list of n different values.
func many[T any](n int, value func(i int) T) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = value(i)
	}
	return list
}

// manyNamed returns a map of n names, all with the same value.
func manyNamed[T any](n int, value T) map[string]T {
	named := make(map[string]T, n)
	for i := range n {
		named[fmt.Sprintf("name-%d", i)] = value
	}
	return named
}
