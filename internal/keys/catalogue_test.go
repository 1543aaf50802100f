package keys_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
)

func policy(name string, spec keysv1alpha1.AccessPolicySpec) keysv1alpha1.AccessPolicy {
	return keysv1alpha1.AccessPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
}

func prefix(path string) []keysv1alpha1.PathMatch { return []keysv1alpha1.PathMatch{{Value: path}} }

func TestCatalogue(t *testing.T) {
	all := keys.Catalogue([]keysv1alpha1.AccessPolicy{
		policy("a", keysv1alpha1.AccessPolicySpec{
			Hosts: []keysv1alpha1.Host{"api.example"},
			Scopes: []keysv1alpha1.ScopeDeclaration{
				{
					Name:        "*",
					Description: "Everything",
				},
				{Name: "b:*"},
				{Name: "b:read", Description: "Read b"},
				{Name: "a:read"},
				{Name: "a:write"},
				{Name: "c:idle"},
			},
			Rules: []keysv1alpha1.AccessRule{
				{Paths: prefix("/b"), Methods: []keysv1alpha1.Method{"GET", "HEAD"}, Scopes: []keysv1alpha1.Scope{"b:read"}},
				{
					Paths:  []keysv1alpha1.PathMatch{{Type: keysv1alpha1.PathExact, Value: "/both"}},
					Scopes: []keysv1alpha1.Scope{"a:read", "b:read"},
				},
				{Paths: prefix("/"), AnyOf: []keysv1alpha1.Scope{"a:read", "a:write", "nobody:declares"}},
			},
		}),
		policy("b", keysv1alpha1.AccessPolicySpec{
			Hosts:  []keysv1alpha1.Host{"api.example"},
			Scopes: []keysv1alpha1.ScopeDeclaration{{Name: "b:read", Description: "not in effect"}},
			Rules: []keysv1alpha1.AccessRule{
				{
					Paths:   prefix("/b"),
					Methods: []keysv1alpha1.Method{"GET", "POST"},
					Scopes:  []keysv1alpha1.Scope{"b:read"},
				}, // GET is the older policy's.
			},
		}),
	})
	var got []string
	for _, entry := range all {
		line := string(entry.Name) + " | " + entry.Description + " | " + strings.Join(entry.Policies, ",")
		for i := range entry.Routes {
			line += " | " + entry.Routes[i].String()
		}
		got = append(got, line)
	}
	want := []string{
		"a:read |  | a | any method api.example/both (and b:read) | any method api.example/… (or a:write, nobody:declares)",
		"a:write |  | a | any method api.example/… (or a:read, nobody:declares)",
		"b:read | Read b | a,b | GET,HEAD api.example/b/… | any method api.example/both (and a:read) | POST api.example/b/…",
		"c:idle |  | a",
		"b:* |  | a",
		"* | Everything | a",
	}
	if !slices.Equal(got, want) {
		t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTenantOf(t *testing.T) {
	tenant := func(name, selects string) keysv1alpha1.Tenant {
		return keysv1alpha1.Tenant{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: keysv1alpha1.TenantSpec{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{selects: "x"}},
		}}
	}
	tenants := []keysv1alpha1.Tenant{tenant("acme", "a"), tenant("globex", "b"), tenant("initech", "b")}
	if found, err := keys.TenantOf("shop", map[string]string{"a": "x"}, tenants); err != nil || found.Name != "acme" {
		t.Errorf("%v, %v", found, err)
	}
	for selects, selected := range map[string][]string{"c": nil, "b": {"globex", "initech"}} {
		_, err := keys.TenantOf("shop", map[string]string{selects: "x"}, tenants)
		if why, ok := errors.AsType[*keys.TenantError](err); !ok || !slices.Equal(why.Selected, selected) ||
			!strings.Contains(err.Error(), "shop") {
			t.Errorf("%s: %v", selects, err)
		}
	}
}

func TestReads(t *testing.T) {
	secretEnv := func(name string) []corev1.EnvVar {
		return []corev1.EnvVar{{Name: "API_KEY", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: name},
		}}}}
	}
	volume := func(source corev1.VolumeSource) []corev1.Volume {
		return []corev1.Volume{{Name: "v", VolumeSource: source}}
	}
	plain := corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "token"}}
	projected := corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "token"}}},
	}}}
	mount := []corev1.VolumeMount{{Name: "v", MountPath: "/etc/token"}}
	fixed := []corev1.VolumeMount{{Name: "v", MountPath: "/t", SubPath: "token"}}
	envSource := &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "token"}}
	debugger := corev1.EphemeralContainerCommon{Name: "d", VolumeMounts: mount}
	for name, test := range map[string]struct {
		spec    corev1.PodSpec
		how     []string
		restart bool
	}{
		"nothing": {
			corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Env: []corev1.EnvVar{{Name: "A", Value: "token"}}}}}, nil,
			false,
		},
		"another's": {
			corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Env: secretEnv("other")}}}, nil, false,
		},
		"a variable": {
			corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Env: secretEnv("token")}}},
			[]string{"env API_KEY of container c"}, true,
		},
		"an init's": {
			corev1.PodSpec{InitContainers: []corev1.Container{{Name: "i", Env: secretEnv("token")}}},
			[]string{"env API_KEY of container i"}, true,
		},
		"all of it": {
			corev1.PodSpec{Containers: []corev1.Container{{Name: "c", EnvFrom: []corev1.EnvFromSource{{SecretRef: envSource}}}}},
			[]string{"envFrom of container c"}, true,
		},
		"files": {
			corev1.PodSpec{Volumes: volume(plain), Containers: []corev1.Container{{Name: "c", VolumeMounts: mount}}},
			[]string{"files at /etc/token of container c"}, false,
		},
		"projected files": {
			corev1.PodSpec{Volumes: volume(projected), Containers: []corev1.Container{{Name: "c", VolumeMounts: mount}}},
			[]string{"files at /etc/token of container c"}, false,
		},
		"a file for good": {
			corev1.PodSpec{Volumes: volume(plain), Containers: []corev1.Container{{Name: "c", VolumeMounts: fixed}}},
			[]string{"files at /t of container c"}, true,
		},
		"files of nobody": {corev1.PodSpec{Volumes: volume(plain), Containers: []corev1.Container{{Name: "c"}}}, nil, false},
		"a debugger's too": {
			corev1.PodSpec{
				Volumes:             volume(plain),
				EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: debugger}},
			},
			[]string{"files at /etc/token of container d"}, false,
		},
	} {
		how, restart := keys.Reads(&test.spec, "token")
		if !slices.Equal(how, test.how) || restart != test.restart {
			t.Errorf("%s: %q, %t", name, how, restart)
		}
	}
}
