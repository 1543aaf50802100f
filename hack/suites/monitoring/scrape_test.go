package monitoring_test

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
)

// labelled has the values of a metric's labels, by label.
type labelled map[string]map[string]bool

func (k labelled) has(label string) bool { return k[label] != nil || slices.Contains(target, label) }

// series are metrics by name, as queries name them.
type series map[string]labelled

// scrape runs the controller and a verifier on a real control plane, makes something happen, and reads their metrics.
func scrape(t *testing.T) series {
	t.Helper()
	i := install.New(t, install.Options{Manifests: []string{"default", "samples"}})
	i.Controller = i.StartController(t, install.ControllerOptions{LeaderElection: true})
	i.Verifier = i.StartVerifier(t, install.VerifierOptions{
		TLS:   install.SignedBy(t, authority.New(t), "127.0.0.1"),
		Flags: []string{"--audit-log=" + filepath.Join(t.TempDir(), "audit.log")},
	})
	install.Kubectl(t, i.ControlPlane, "wait", "--for=condition=Ready", "apikeys", "-n", "warehouse", "--all",
		"--timeout=1m")
	// This request has no token, and nothing from a proxy.
	if _, err := page(t, i.Verifier.Web, i.Verifier.URL(i.Verifier.HTTP, "/auth/nginx")); err != nil {
		t.Fatal(err)
	}
	scraped := series{}
	for _, url := range []string{"http://" + i.Controller.Metrics, i.Verifier.URL(i.Verifier.Metrics, "")} {
		scraped.add(t, i.Verifier.Web, url+"/metrics")
	}
	return scraped
}

func page(t *testing.T, web *http.Client, url string) (io.ReadCloser, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := web.Do(request)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response.Body, nil
}

// add adds the metrics of an endpoint.
func (s series) add(t *testing.T, web *http.Client, url string) {
	t.Helper()
	body, err := page(t, web, url)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(body)
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", url, err))
	}
	for name, family := range families {
		for _, metric := range family.GetMetric() {
			names := []string{name}
			if metric.GetHistogram() != nil {
				names = []string{name + "_bucket", name + "_sum", name + "_count"}
			}
			for _, name := range names {
				if s[name] == nil {
					s[name] = labelled{}
				}
				for _, label := range metric.GetLabel() {
					s[name].learn(label.GetName(), label.GetValue())
				}
			}
			if metric.GetHistogram() != nil {
				s[name+"_bucket"].learn("le", "+Inf")
			}
		}
	}
}

func (k labelled) learn(label, value string) {
	if k[label] == nil {
		k[label] = map[string]bool{}
	}
	k[label][value] = true
}
