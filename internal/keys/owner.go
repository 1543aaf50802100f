package keys

import (
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
)

// Owner is the tool that applies an object from Git or from a chart, and so may undo manual changes.
type Owner struct {
	// Tool is Argo CD, Flux or Helm.
	Tool string
	// Name is what applies the object, such as `Application apps` or `release shop/keys`.
	Name string
	// Undoes says whether the tool sets spec.state, as far as the object shows.
	Undoes Undoes
}

// Undoes says whether a tool sets a field, and so undoes a manual change of it.
type Undoes int

// Whether a tool sets a field.
const (
	// MayUndo means that the object doesn't show it.
	MayUndo Undoes = iota
	// WillUndo means that what the tool has applied names the field.
	WillUndo
	// WillNotUndo means that what the tool has applied leaves the field out.
	WillNotUndo
)

// Labels and annotations by which tools mark their objects.
const (
	argoTracking      = "argocd.argoproj.io/tracking-id"
	argoInstance      = "argocd.argoproj.io/instance"
	fluxKustomization = "kustomize.toolkit.fluxcd.io/"
	fluxHelmRelease   = "helm.toolkit.fluxcd.io/"
	helmRelease       = "meta.helm.sh/release-"
	lastApplied       = "kubectl.kubernetes.io/last-applied-configuration"
)

// OwnerOf returns the tool that applies an object, nil where a person does. Of several, it is the outermost: a Helm
// release that Flux installs is Flux's.
func OwnerOf(key *keysv1alpha1.ApiKey) *Owner {
	owner := ownerByLabels(key)
	if owner == nil {
		owner = ownerByManager(key)
	}
	if owner != nil {
		owner.Undoes = setsState(key, owner.Tool)
	}
	return owner
}

// ownerByLabels finds the owner by its labels and annotations.
func ownerByLabels(key *keysv1alpha1.ApiKey) *Owner {
	labels, annotations := key.Labels, key.Annotations
	if id := annotations[argoTracking]; id != "" {
		application, _, _ := strings.Cut(id, ":")
		return &Owner{Tool: "Argo CD", Name: "Application " + strings.ReplaceAll(application, "_", "/")}
	}
	if name := labels[argoInstance]; name != "" {
		return &Owner{Tool: "Argo CD", Name: "Application " + name}
	}
	if name := labels[fluxKustomization+"name"]; name != "" {
		return &Owner{Tool: "Flux", Name: "Kustomization " + labels[fluxKustomization+"namespace"] + "/" + name}
	}
	if name := labels[fluxHelmRelease+"name"]; name != "" {
		return &Owner{Tool: "Flux", Name: "HelmRelease " + labels[fluxHelmRelease+"namespace"] + "/" + name}
	}
	if name := annotations[helmRelease+"name"]; name != "" {
		return &Owner{Tool: "Helm", Name: "release " + annotations[helmRelease+"namespace"] + "/" + name}
	}
	if labels["app.kubernetes.io/managed-by"] == "Helm" {
		return &Owner{Tool: "Helm", Name: "a release"}
	}
	return nil
}

// managers are the names by which tools write.
var managers = map[string]string{
	"argocd-controller": "Argo CD", "argocd-application-controller": "Argo CD",
	"kustomize-controller": "Flux", "helm-controller": "Flux", "helm": "Helm",
}

// ownerByManager finds the owner by the field managers of the object: Argo CD may mark its objects by a label that
// others use too.
func ownerByManager(key *keysv1alpha1.ApiKey) *Owner {
	for _, entry := range key.ManagedFields {
		if tool := managers[entry.Manager]; tool != "" && entry.Subresource == "" {
			name := "what " + entry.Manager + " applies"
			if instance := key.Labels["app.kubernetes.io/instance"]; instance != "" && tool == "Argo CD" {
				name = "Application " + instance
			}
			return &Owner{Tool: tool, Name: name}
		}
	}
	return nil
}

// setsState returns whether a tool's manifest names spec.state, by the managed fields, or by the annotation of
// client-side apply.
func setsState(key *keysv1alpha1.ApiKey, tool string) Undoes {
	for _, entry := range key.ManagedFields {
		if managers[entry.Manager] != tool || entry.Operation != metav1.ManagedFieldsOperationApply || entry.FieldsV1 == nil {
			continue
		}
		var fields struct {
			Spec map[string]json.RawMessage `json:"f:spec"`
		}
		if json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			return MayUndo
		}
		return undoes(fields.Spec["f:state"] != nil)
	}
	if content, ok := key.Annotations[lastApplied]; ok {
		var object struct {
			Spec map[string]json.RawMessage `json:"spec"`
		}
		if json.Unmarshal([]byte(content), &object) == nil {
			return undoes(object.Spec["state"] != nil)
		}
	}
	return MayUndo
}

// undoes returns what a tool does whose manifest names a field, or leaves it out.
func undoes(inManifest bool) Undoes {
	if inManifest {
		return WillUndo
	}
	return WillNotUndo
}

// Warning says what happens to a state that is set by hand, and what to change in Git instead.
func (o *Owner) Warning(key *keysv1alpha1.ApiKey, state keysv1alpha1.ApiKeyState) string {
	where, next := "in Git", "sync"
	if o.Tool == "Helm" {
		where, next = "in the chart or its values", "helm upgrade"
	}
	change := fmt.Sprintf("%s, set spec.state: %s in the manifest of ApiKey %s", where, state, nameOf(key))
	if state == keysv1alpha1.ApiKeyActive {
		change = fmt.Sprintf("%s, remove spec.state from the manifest of ApiKey %s", where, nameOf(key))
	}
	what := map[Undoes]string{
		MayUndo:  "The next " + next + " undoes this if the manifest names spec.state",
		WillUndo: "The manifest names spec.state, so the next " + next + " undoes this",
		WillNotUndo: "The manifest leaves spec.state out, so this stays, but whoever applies it elsewhere or anew gets a " +
			"key that works",
	}
	if state == keysv1alpha1.ApiKeyActive {
		what[WillNotUndo] = "The manifest leaves spec.state out, so this stays"
	}
	if state == keysv1alpha1.ApiKeyRevoked {
		what[MayUndo] = "This can't be undone: if the manifest names another spec.state, the next " + next +
			" fails; and if the object is deleted, it comes back as a new key that works"
		what[WillUndo] = "This can't be undone, and the manifest names spec.state, so every " + next +
			" fails until it is changed; and if the object is deleted, it comes back as a new key that works"
		what[WillNotUndo] = "This stays, but if the object is deleted, or the manifest applied elsewhere, it comes back as " +
			"a new key that works"
	}
	if state == keysv1alpha1.ApiKeyActive && o.Undoes == WillNotUndo {
		return fmt.Sprintf("%s (%s) applies ApiKey %s. %s.", o.Tool, o.Name, nameOf(key), what[o.Undoes])
	}
	return fmt.Sprintf("%s (%s) applies ApiKey %s. %s: %s.", o.Tool, o.Name, nameOf(key), what[o.Undoes], change)
}
