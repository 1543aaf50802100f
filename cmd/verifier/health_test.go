package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestReadiness(t *testing.T) {
	fine := func() error { return nil }
	bad := func() error { return errors.New("too bad") }
	for name, test := range map[string]struct {
		fresh, draining func() error
		status          int
		page            string
	}{
		"ready":    {fine, fine, http.StatusOK, "[+]fresh ok\n[+]draining ok\nfreshAsOf: then\n"},
		"stale":    {bad, fine, http.StatusServiceUnavailable, "[-]fresh failed: too bad\n[+]draining ok\nfreshAsOf: then\n"},
		"stopping": {fine, bad, http.StatusServiceUnavailable, "[+]fresh ok\n[-]draining failed: too bad\nfreshAsOf: then\n"},
	} {
		t.Run(name, func(t *testing.T) {
			recorder := httptest.NewRecorder()
			checks := map[string]func() error{"fresh": test.fresh, "draining": test.draining}
			readiness(func() string { return "freshAsOf: then" }, checks).
				ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/readyz", http.NoBody))
			if recorder.Code != test.status || recorder.Body.String() != test.page {
				t.Errorf("%d %q", recorder.Code, recorder.Body)
			}
		})
	}
}
