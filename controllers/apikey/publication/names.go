package publication

import (
	"encoding/json"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// namesAnnotation lists, on a Secret, the labels and annotations that spec.secret of its key asks for, so that those
// that it no longer asks for are told from other people's, and removed.
const namesAnnotation = keysv1alpha1.GroupName + "/spec-secret-names"

// names are names of labels and annotations.
type names struct {
	Labels      []string `json:"labels,omitempty"`
	Annotations []string `json:"annotations,omitempty"`
}

// recordNames lists on a Secret the labels and annotations that a key asks for. Without any, it lists nothing.
func recordNames(secret *corev1.Secret, shape *keysv1alpha1.SecretTemplate) error {
	if len(shape.Labels)+len(shape.Annotations) == 0 {
		return nil
	}
	list, err := json.Marshal(names{
		Labels: slices.Sorted(maps.Keys(shape.Labels)), Annotations: slices.Sorted(maps.Keys(shape.Annotations)),
	})
	secret.Annotations[namesAnnotation] = string(list)
	return err
}

// withdraw removes from a Secret the labels and annotations that are listed on it, and that the desired Secret doesn't
// have. A list that can't be read is nobody's.
func withdraw(secret, desired *corev1.Secret) {
	var listed names
	if err := json.Unmarshal([]byte(secret.Annotations[namesAnnotation]), &listed); err != nil {
		return
	}
	removeFrom(secret.Labels, listed.Labels, desired.Labels)
	removeFrom(secret.Annotations, append(listed.Annotations, namesAnnotation), desired.Annotations)
}

// removeFrom removes names from a map, but for those that are wanted.
func removeFrom(from map[string]string, listed []string, wanted map[string]string) {
	for _, name := range listed {
		if _, keep := wanted[name]; !keep {
			delete(from, name)
		}
	}
}
