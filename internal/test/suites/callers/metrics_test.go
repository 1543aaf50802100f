package callers_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// monitoring reads the metrics of both programs as config/ has them run: over TLS, by the certificates that the
// controller signs, and by who may.
func (i *installation) monitoring(t *testing.T) {
	may, mayNot := i.account(t, "apikey-metrics-reader"), i.account(t, "")
	controller, verifier := program.FreeAddress(t), program.FreeAddress(t)
	install.StartController(t, i.cp, program.Build(t, "./cmd/controller"), "--metrics-bind-address="+controller,
		"--metrics-secure", "--self-signed-certificates")
	another := i.start(t, "verifier-2", program.FreeAddress(t), append(install.Mounted(t, i.cp, "apikey-verifier-tls"),
		"--insecure-plain-text=false", "--metrics-bind-address="+verifier, "--metrics-secure",
		"--health-probe-bind-address=0")...)
	defer another.Terminate(patience) // It says goodbye, or keys would wait for it.

	for name, test := range map[string]struct{ address, has string }{
		"apikey-controller": {controller, "apikey_controller_oldest_waiting_seconds "},
		"apikey-verifier":   {verifier, "apikey_verifier_index_credentials "},
	} {
		build := regexp.MustCompile(`apikey_build_info\{go_version="go[^"]+",program="` + name + `",version="[^"]+"\} 1\n`)
		transport := &http.Transport{TLSClientConfig: install.Trust(t, i.cp, name+"-metrics.apikey-system.svc")}
		t.Cleanup(transport.CloseIdleConnections)
		web := &http.Client{Transport: transport}
		program.WaitUntil(t, patience, "metrics", func() error {
			status, body, err := read(t.Context(), web, "https://"+test.address+"/metrics", may)
			if err == nil && (status != http.StatusOK || !strings.Contains(body, "\n"+test.has) || !build.MatchString(body)) {
				err = fmt.Errorf("status %d, %d bytes without what is looked for", status, len(body))
			}
			return err
		})
		for path, want := range map[string]int{"/metrics": http.StatusOK, "/debug/explain": http.StatusForbidden} {
			if name == "apikey-controller" && path != "/metrics" {
				continue
			}
			for token, want := range map[string]int{"": http.StatusUnauthorized, "junk": http.StatusUnauthorized,
				mayNot: http.StatusForbidden, may: want} {
				status, body, err := read(t.Context(), web, "https://"+test.address+path, token)
				if err != nil || status != want {
					t.Errorf("%s%s: %d, %v, want %d", name, path, status, err, want)
				}
				if want != http.StatusOK && strings.Contains(body, "apikey_") {
					t.Errorf("%s%s shows metrics with %d", name, path, status)
				}
			}
		}
		if status, body, err := read(t.Context(), http.DefaultClient, "http://"+test.address+"/metrics", may); err == nil &&
			status < 400 {
			t.Errorf("%s answers in plain text: %d %s", name, status, body)
		}
	}
}

// read gets a page, as the bearer of a token if there is one.
func read(ctx context.Context, web *http.Client, url, token string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := web.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}
