package daemon

import (
	"bytes"
	"errors"
	"flag"
	"regexp"
	"testing"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// TestLazily checks that a lazy logger writes the same lines as the one below it, including the callers' positions.
func TestLazily(t *testing.T) {
	var texts [2]string
	for i, wrap := range []func(logr.Logger) logr.Logger{func(log logr.Logger) logr.Logger { return log }, lazily} {
		var out bytes.Buffer
		log := wrap(zap.New(zap.WriteTo(&out), zap.JSONEncoder()))
		parent := log.WithName("controller").WithValues("controller", "apikey")
		first, second := parent.WithValues("name", "one"), parent.WithValues("name", "two")
		for _, child := range []logr.Logger{first, second, parent, first.WithCallDepth(1)} {
			child.Info("Key changed", "reason", "Issued")
			child.Error(errors.New("no"), "It failed", "try", 1)
			child.V(1).Info("Not asked for")
		}
		texts[i] = regexp.MustCompile(`"ts":[^,]*`).ReplaceAllString(out.String(), "")
	}
	if texts[0] != texts[1] || texts[0] == "" {
		t.Errorf("logged\n%s\nwant\n%s", texts[1], texts[0])
	}
}

// TestNoBodiesAreLogged checks that no level makes client-go log the bodies of requests, which have tokens. The first
// level of these is 8 (logBody in rest/request.go).
func TestNoBodiesAreLogged(t *testing.T) {
	var out bytes.Buffer
	options, flags := zap.Options{DestWriter: &out}, flag.NewFlagSet("", flag.ContinueOnError)
	options.BindFlags(flags)
	if err := flags.Parse([]string{"--zap-log-level=100"}); err != nil {
		t.Fatal(err)
	}
	log := lazily(zap.New(zap.UseFlagOptions(&options))).WithName("a").WithValues("b", "c")
	if !log.V(7).Enabled() || !log.V(3).V(4).Enabled() {
		t.Error("other lines are not logged either")
	}
	for level := 8; level <= 100; level++ {
		if log.V(level).Enabled() || log.V(4).V(level-4).Enabled() {
			t.Errorf("level %d is logged", level)
		}
		log.V(level).Info("Request Body", "body", "token")
	}
	if out.Len() > 0 {
		t.Errorf("logged %s", out.String())
	}
}

// TestLazilyAllocates checks that a logger that logs nothing allocates little.
func TestLazilyAllocates(t *testing.T) {
	log := lazily(zap.New(zap.WriteTo(&bytes.Buffer{})))
	allocations := testing.AllocsPerRun(100, func() { log.WithValues("name", "one").V(1).Info("Not asked for") })
	if allocations > 3 {
		t.Errorf("a logger that logs nothing allocates %v times", allocations)
	}
}
