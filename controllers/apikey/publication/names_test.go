package publication

import (
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// TestWithdraw checks that a Secret loses what its key no longer asks for, and nothing else.
func TestWithdraw(t *testing.T) {
	secret := func(annotations, labels map[string]string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Annotations: annotations, Labels: labels}}
	}
	before := secret(map[string]string{"a/copy": "1", "a/stays": "1"}, map[string]string{"team": "a"})
	shape := &keysv1alpha1.SecretTemplate{
		Annotations: before.Annotations, Labels: map[string]keysv1alpha1.LabelValue{"team": "a"},
	}
	before.Annotations = maps.Clone(before.Annotations)
	if err := recordNames(before, shape); err != nil {
		t.Fatal(err)
	}
	before.Annotations["others"], before.Labels["others"] = "1", "1"

	less := secret(map[string]string{"a/stays": "1"}, map[string]string{})
	if err := recordNames(less, &keysv1alpha1.SecretTemplate{Annotations: less.Annotations}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		desired             *corev1.Secret
		annotations, labels []string
	}{
		"some of it": {less, []string{"a/stays", "others", namesAnnotation}, []string{"others"}},
		"all of it":  {secret(nil, nil), []string{"others"}, []string{"others"}},
	} {
		got := before.DeepCopy()
		withdraw(got, c.desired)
		if !has(got.Annotations, c.annotations) || !has(got.Labels, c.labels) {
			t.Errorf("%s: %v, %v", name, got.Annotations, got.Labels)
		}
	}
	for _, list := range []string{"", "no list", "[]"} { // As somebody else may leave it.
		got := secret(map[string]string{namesAnnotation: list, "others": "1"}, map[string]string{"team": "a"})
		withdraw(got, secret(nil, nil))
		if got.Annotations["others"] == "" || got.Labels["team"] == "" {
			t.Errorf("%q: %v, %v", list, got.Annotations, got.Labels)
		}
	}
	withdraw(secret(nil, nil), less) // Of a Secret without annotations there is nothing to remove.
}

// has reports whether a map has these names and no others.
func has(got map[string]string, wanted []string) bool {
	for _, name := range wanted {
		if _, ok := got[name]; !ok {
			return false
		}
	}
	return len(got) == len(wanted)
}
