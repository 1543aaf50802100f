package monitor_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/utils/clock"

	"github.com/nexuscommerce/apikey-operator/internal/kubeauth"
	"github.com/nexuscommerce/apikey-operator/internal/monitor"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

const waitTimeout = 30 * time.Second

// stranger is a cluster that authenticates nobody.
type stranger struct{}

func (stranger) ReviewToken(
	_ context.Context, review *authenticationv1.TokenReview,
) (*authenticationv1.TokenReview, error) {
	return review, nil
}

func (stranger) ReviewAccess(
	context.Context, *authorizationv1.SubjectAccessReview,
) (*authorizationv1.SubjectAccessReview, error) {
	return nil, errors.New("nobody is known to ask about")
}

// TestEndpoint requests metrics and another path, in plain text and with a guard.
func TestEndpoint(t *testing.T) {
	registry := monitor.NewRegistry("a-program")
	guard := kubeauth.New(kubeauth.Options{Cluster: stranger{}, Clock: clock.RealClock{}, Log: logr.Discard()})
	for name, test := range map[string]struct {
		scheme string
		guard  *kubeauth.Guard
		status int
	}{
		"plain text": {"http", nil, http.StatusOK},
		"a guard":    {"https", guard, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			endpoint := monitor.Endpoint{
				Address: program.FreeAddress(t), Guard: test.guard, Metrics: registry,
				Handlers: map[string]http.Handler{"/more": http.HandlerFunc(
					func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "apikey_build_info") },
				)},
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- endpoint.Start(ctx) }()
			for _, path := range []string{"/metrics", "/more"} {
				program.WaitUntil(t, waitTimeout, path, func() error {
					status, page, err := get(t, test.scheme+"://"+endpoint.Address+path)
					shown := strings.Contains(page, "apikey_build_info")
					if err == nil && (status != test.status || shown != (status == http.StatusOK)) {
						t.Errorf("%s: %d %.200s", path, status, page)
					}
					return err
				})
			}
			stop()
			if err := <-ended; err != nil {
				t.Errorf("after the context has ended: %v", err)
			}
		})
	}
}

func get(t *testing.T, url string) (status int, page string, err error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}
