package monitoring_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/need"
)

// render builds a folder of config/, and returns its objects by kind.
func render(t *testing.T, folder ...string) map[string][]string {
	t.Helper()
	path := filepath.Join(append([]string{controlplane.Root(), "config"}, folder...)...)
	command := exec.CommandContext(context.WithoutCancel(t.Context()), need.Program(t, "kubectl"), "kustomize", path)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	objects := map[string][]string{}
	for object := range strings.SplitSeq(string(out), "\n---\n") {
		var meta metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(object), &meta); err != nil {
			t.Fatal(err)
		}
		objects[meta.Kind] = append(objects[meta.Kind], object)
	}
	return objects
}

// all decodes the objects of a kind, strictly.
func all[T any](t *testing.T, objects map[string][]string, kind string) []T {
	t.Helper()
	decoded := make([]T, len(objects[kind]))
	for i, object := range objects[kind] {
		decode(t, object, &decoded[i])
	}
	if len(decoded) == 0 {
		t.Fatalf("no %s", kind)
	}
	return decoded
}

// TestEveryProgramIsATarget checks that each Deployment's metrics are scraped: by a ServiceMonitor, which selects a
// Service, which has the port and selects the pods; over TLS, with a token, by an account that may read them.
func TestEveryProgramIsATarget(t *testing.T) {
	monitoring, installation := render(t, "prometheus"), render(t, "default")
	deployments := all[appsv1.Deployment](t, installation, "Deployment")
	services := all[corev1.Service](t, installation, "Service")
	targets := map[string]int{}
	for _, monitor := range all[monitoringv1.ServiceMonitor](t, monitoring, "ServiceMonitor") {
		selector, err := metav1.LabelSelectorAsSelector(&monitor.Spec.Selector)
		if err != nil {
			t.Fatal(err)
		}
		endpoint := monitor.Spec.Endpoints[0]
		//nolint:staticcheck // Every version has it.
		if endpoint.Scheme == nil || *endpoint.Scheme != "https" || endpoint.BearerTokenFile == "" {
			t.Errorf("%s asks in plain text, or without a token", monitor.Name)
		}
		secure := endpoint.TLSConfig
		if secure == nil || secure.InsecureSkipVerify != nil || secure.CA.ConfigMap == nil ||
			secure.CA.ConfigMap.Name != "apikey-ca" ||
			secure.ServerName == nil || !strings.HasPrefix(*secure.ServerName, monitor.Name+"-metrics.") {
			t.Errorf("%s sends its token to whom it has not checked: %+v", monitor.Name, secure)
		}
		for _, service := range services {
			if service.Namespace != monitor.Namespace || !selector.Matches(labels.Set(service.Labels)) {
				continue
			}
			for _, port := range service.Spec.Ports {
				for _, deployment := range deployments {
					if port.Name == endpoint.Port &&
						labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(deployment.Spec.Template.Labels)) {
						targets[deployment.Name]++
					}
				}
			}
		}
	}
	for _, deployment := range deployments {
		if targets[deployment.Name] != 1 {
			t.Errorf("%s is found %d times", deployment.Name, targets[deployment.Name])
		}
	}

	roles := map[string]bool{}
	for _, role := range all[rbacv1.ClusterRole](t, installation, "ClusterRole") {
		roles[role.Name] = true
	}
	for _, binding := range all[rbacv1.ClusterRoleBinding](t, monitoring, "ClusterRoleBinding") {
		if !roles[binding.RoleRef.Name] {
			t.Errorf("%s binds %s, which is not there", binding.Name, binding.RoleRef.Name)
		}
	}
	dashboards := all[corev1.ConfigMap](t, monitoring, "ConfigMap")
	if dashboards[0].Labels["grafana_dashboard"] != "1" || dashboards[0].Data["dashboard.json"] == "" {
		t.Error("Grafana's sidecar does not find the dashboard")
	}
}
