package kubeauth

import (
	"testing"

	"k8s.io/client-go/rest"
)

// TestTheClientLimitsNothing checks that no caller holds a place while it waits for the client's own rate limit: how
// often the API server is asked is decided before that, without waiting.
func TestTheClientLimitsNothing(t *testing.T) {
	config := &rest.Config{Host: "https://127.0.0.1:6443", QPS: 5, Burst: 1}
	guard, err := NewForConfig(config, Options{})
	if err != nil {
		t.Fatal(err)
	}
	asked, ok := guard.options.Cluster.(cluster)
	if !ok {
		t.Fatalf("the cluster is a %T", guard.options.Cluster)
	}
	for kind, client := range map[string]rest.Interface{
		"TokenReviews": asked.authentication, "SubjectAccessReviews": asked.authorization,
	} {
		if limiter := client.GetRateLimiter(); limiter != nil {
			t.Errorf("%s wait for %v", kind, limiter)
		}
	}
	if config.QPS != 5 {
		t.Error("the program's own configuration was changed")
	}
}
