package daemon

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/rest"
)

// TestTooOld checks versions as clusters give them.
func TestTooOld(t *testing.T) {
	for _, test := range []struct {
		major, minor string
		want         bool
	}{
		{"1", "33", true}, {"1", "33+", true}, {"1", "9", true}, {"0", "40", true},
		{"1", "34", false}, {"1", "34+", false}, {"1", "37", false}, {"2", "0", false}, {"", "", false}, {"1", "x", false},
	} {
		if got := tooOld(version.Info{Major: test.major, Minor: test.minor}); got != test.want {
			t.Errorf("%s.%s: %t", test.major, test.minor, got)
		}
	}
}

// TestAwaitNamesTheOldVersion checks what is said about an API server below the floor.
func TestAwaitNamesTheOldVersion(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/version" {
			_, _ = fmt.Fprint(w, `{"major":"1","minor":"33","gitVersion":"v1.33.5"}`)
			return
		}
		http.NotFound(w, r)
	}))
	defer server.Close()
	err := Needs{Timeout: 1}.Await(t.Context(), &rest.Config{Host: server.URL}, logr.Discard())
	const want = "Kubernetes 1.33 (v1.33.5) is too old: upgrade the cluster to 1.34 or newer"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Error(err)
	}
}

// TestOneFloor checks that the chart and the documentation name the version that the programs ask for.
func TestOneFloor(t *testing.T) {
	for file, want := range map[string]string{
		"config/chart/Chart.yaml": fmt.Sprintf(`kubeVersion: ">=1.%d.0-0"`, MinimumMinor),
		"docs/install.md":         fmt.Sprintf("What you need: Kubernetes 1.%d or newer", MinimumMinor),
	} {
		content, err := os.ReadFile("../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(content), want) {
			t.Errorf("%s lacks %q", file, want)
		}
	}
}
