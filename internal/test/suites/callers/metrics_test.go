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

// monitoring reads the metrics of both programs as config/ configures them: over TLS, with the certificates that the
// controller signs, and only by accounts that may.
func (b *testbed) monitoring(t *testing.T) {
	may, mayNot := b.account(t, "apikey-metrics-reader"), b.account(t, "")
	controller := b.StartController(t, install.ControllerOptions{
		Flags: []string{"--metrics-secure", "--self-signed-certificates"},
	})
	verifier := b.StartVerifier(t, install.VerifierOptions{
		TLS:   install.MountedTLS(t, b.ControlPlane, "apikey-verifier-tls", "apikey-verifier.apikey-system.svc"),
		Flags: []string{debugLog, "--metrics-secure"},
	})
	defer verifier.Terminate(timeout) // It signs off, or revocations would wait for it.

	for name, test := range map[string]struct{ address, has string }{
		"apikey-controller": {controller.Metrics, "apikey_controller_oldest_waiting_seconds "},
		"apikey-verifier":   {verifier.Metrics, "apikey_verifier_index_credentials "},
	} {
		build := regexp.MustCompile(`apikey_build_info\{go_version="go[^"]+",program="` + name + `",version="[^"]+"\} 1\n`)
		transport := &http.Transport{TLSClientConfig: install.Trust(t, b.ControlPlane, name+"-metrics.apikey-system.svc")}
		t.Cleanup(transport.CloseIdleConnections)
		web := &http.Client{Transport: transport}
		program.WaitUntil(t, timeout, "metrics", func() error {
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
