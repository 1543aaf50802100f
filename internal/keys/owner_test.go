package keys_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
)

type meta = func(*keysv1alpha1.ApiKey)

func label(name, value string) meta {
	return func(k *keysv1alpha1.ApiKey) { metav1.SetMetaDataLabel(&k.ObjectMeta, name, value) }
}

func annotation(name, value string) meta {
	return func(k *keysv1alpha1.ApiKey) { metav1.SetMetaDataAnnotation(&k.ObjectMeta, name, value) }
}

func applied(manager string, operation metav1.ManagedFieldsOperationType, fields string) meta {
	return func(k *keysv1alpha1.ApiKey) {
		k.ManagedFields = append(k.ManagedFields, metav1.ManagedFieldsEntry{
			Manager: manager, Operation: operation, FieldsV1: metav1.NewFieldsV1(fields),
		})
	}
}

func TestOwnerOf(t *testing.T) {
	const withState, without = `{"f:spec":{"f:state":{},"f:scopes":{}}}`, `{"f:spec":{"f:scopes":{}}}`
	for name, test := range map[string]struct {
		changes    []meta
		tool, what string
		undoes     keys.Undoes
	}{
		"a person": {nil, "", "", 0},
		"a person by kubectl": {
			[]meta{applied("kubectl", "Apply", withState), annotation("kubectl.kubernetes.io/last-applied-configuration", "{}")},
			"", "", 0,
		},
		"the controller": {[]meta{applied("apikey-controller", "Update", withState)}, "", "", 0},
		"Argo CD, by annotation": {
			[]meta{annotation("argocd.argoproj.io/tracking-id", "shop-keys:keys.nexuscommerce.io/ApiKey:shop/warehouse")},
			"Argo CD", "Application shop-keys", keys.MayUndo,
		},
		"Argo CD, an application in a namespace": {
			[]meta{annotation("argocd.argoproj.io/tracking-id", "team_shop-keys:keys.nexuscommerce.io/ApiKey:shop/warehouse")},
			"Argo CD", "Application team/shop-keys", keys.MayUndo,
		},
		"Argo CD, by client-side apply without state": {[]meta{
			annotation("argocd.argoproj.io/tracking-id", "a:b:c"),
			annotation("kubectl.kubernetes.io/last-applied-configuration", `{"spec":{"scopes":["a:b"]}}`),
		}, "Argo CD", "Application a", keys.WillNotUndo},
		"Argo CD, by client-side apply with state": {[]meta{
			annotation("argocd.argoproj.io/tracking-id", "a:b:c"),
			annotation("kubectl.kubernetes.io/last-applied-configuration", `{"spec":{"state":"Active"}}`),
		}, "Argo CD", "Application a", keys.WillUndo},
		"Argo CD, by label": {
			[]meta{label("argocd.argoproj.io/instance", "keys")}, "Argo CD", "Application keys", keys.MayUndo,
		},
		"Argo CD, by its writes": {
			[]meta{label("app.kubernetes.io/instance", "keys"), applied("argocd-controller", "Update", withState)}, "Argo CD",
			"Application keys", keys.MayUndo,
		},
		"Flux, by server-side apply with state": {[]meta{
			label("kustomize.toolkit.fluxcd.io/name", "keys"), label("kustomize.toolkit.fluxcd.io/namespace", "flux-system"),
			applied("kustomize-controller", "Apply", withState),
		}, "Flux", "Kustomization flux-system/keys", keys.WillUndo},
		"Flux, without state": {[]meta{
			label("kustomize.toolkit.fluxcd.io/name", "keys"), label("kustomize.toolkit.fluxcd.io/namespace", "flux-system"),
			applied("someone", "Update", withState), applied("kustomize-controller", "Apply", without),
		}, "Flux", "Kustomization flux-system/keys", keys.WillNotUndo},
		"Flux, by a release": {[]meta{
			label("helm.toolkit.fluxcd.io/name", "keys"), label("helm.toolkit.fluxcd.io/namespace", "shop"),
			annotation("meta.helm.sh/release-name", "keys"),
		}, "Flux", "HelmRelease shop/keys", keys.MayUndo},
		"Helm": {[]meta{
			annotation("meta.helm.sh/release-name", "keys"), annotation("meta.helm.sh/release-namespace", "shop"),
			label("app.kubernetes.io/managed-by", "Helm"),
		}, "Helm", "release shop/keys", keys.MayUndo},
		"Helm, by label alone": {[]meta{label("app.kubernetes.io/managed-by", "Helm")}, "Helm", "a release", keys.MayUndo},
	} {
		t.Run(name, func(t *testing.T) {
			key := working(test.changes...)
			owner := keys.OwnerOf(key)
			if owner == nil {
				if test.tool != "" {
					t.Fatal("nobody")
				}
				return
			}
			if owner.Tool != test.tool || owner.Name != test.what || owner.Undoes != test.undoes {
				t.Errorf("%+v, want %s, %s, %d", owner, test.tool, test.what, test.undoes)
			}
		})
	}
}

func TestWarning(t *testing.T) {
	for name, test := range map[string]struct {
		owner keys.Owner
		state keysv1alpha1.ApiKeyState
		said  []string
	}{
		"a suspension that is undone": {keys.Owner{Tool: "Flux", Undoes: keys.WillUndo}, keysv1alpha1.ApiKeySuspended,
			[]string{"next sync undoes this", "in Git, set spec.state: Suspended in the manifest of ApiKey shop/warehouse"}},
		"a suspension that stays": {keys.Owner{Tool: "Argo CD", Undoes: keys.WillNotUndo}, keysv1alpha1.ApiKeySuspended,
			[]string{"this stays", "set spec.state: Suspended"}},
		"a revocation by Helm": {keys.Owner{Tool: "Helm", Undoes: keys.WillUndo}, keysv1alpha1.ApiKeyRevoked,
			[]string{"every helm upgrade fails", "in the chart or its values, set spec.state: Revoked"}},
		"a revocation that Git does not name": {
			keys.Owner{Tool: "Flux", Undoes: keys.WillNotUndo}, keysv1alpha1.ApiKeyRevoked,
			[]string{"comes back as a new key", "set spec.state: Revoked"},
		},
		"resuming what Git suspends": {keys.Owner{Tool: "Argo CD", Undoes: keys.WillUndo}, keysv1alpha1.ApiKeyActive,
			[]string{"next sync undoes this", "remove spec.state"}},
	} {
		got := test.owner.Warning(working(), test.state)
		for _, want := range append(test.said, test.owner.Tool) {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is not in %q", name, want, got)
			}
		}
	}
	owner := &keys.Owner{Tool: "Flux", Undoes: keys.WillNotUndo}
	if got := owner.Warning(working(), keysv1alpha1.ApiKeyActive); strings.Contains(got, "remove spec.state") {
		t.Errorf("there is nothing to remove: %s", got)
	}
}
