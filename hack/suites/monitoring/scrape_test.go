package monitoring_test

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/authority"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const patience = time.Minute

// labelled are the values that a metric's labels have, by label.
type labelled map[string]map[string]bool

func (k labelled) has(label string) bool { return k[label] != nil || slices.Contains(target, label) }

// series are metrics by name, as queries name them.
type series map[string]labelled

// scrape runs the controller and a verifier on a real control plane, has something happen, and reads their metrics.
func scrape(t *testing.T) series {
	t.Helper()
	cp := install.ControlPlane(t, controlplane.Options{}, "default", "samples")
	controller, verifier, health, ask := program.FreeAddress(t), program.FreeAddress(t), program.FreeAddress(t), program.FreeAddress(t)
	program.Start(t, program.Build(t, "./cmd/controller"), "--kubeconfig="+install.Kubeconfig(t, cp, "apikey-controller"),
		"--metrics-bind-address="+controller, "--health-probe-bind-address=0") // It elects a leader.
	ca := authority.New(t)
	program.Start(t, program.Build(t, "./cmd/verifier"), append(ca.Flags(t, "127.0.0.1"), "--kubeconfig="+install.Kubeconfig(t, cp, "apikey-verifier"),
		"--name=verifier-1", "--audit-log="+filepath.Join(t.TempDir(), "audit.log"),
		"--http-bind-address="+ask, "--grpc-bind-address="+program.FreeAddress(t),
		"--metrics-bind-address="+verifier, "--health-probe-bind-address="+health)...)
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.Trust("127.0.0.1")}}
	t.Cleanup(web.CloseIdleConnections)
	program.WaitUntil(t, patience, "a ready verifier", program.AnswersTo(t.Context(), web, "https://"+health+"/readyz"))
	install.Kubectl(t, cp, "wait", "--for=condition=Ready", "apikeys", "-n", "warehouse", "--all", "--timeout=1m")
	// One whom the proxy has not told of, and one without a token.
	if _, err := page(t, web, "https://"+ask+"/auth/nginx"); err != nil {
		t.Fatal(err)
	}
	all := series{}
	for _, url := range []string{"http://" + controller, "https://" + verifier} {
		all.add(t, web, url+"/metrics")
	}
	return all
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

// add adds what an endpoint shows.
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
