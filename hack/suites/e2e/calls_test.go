//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// workers is the most requests that the client of manifests/client.yaml has under way.
const workers = 8

// tally has the results of a client's requests since it started: see workload/client.go.
type tally struct {
	// Answers counts responses by status; 0 is no response.
	Answers map[int]int
	// KeyIDs counts accepted requests by the ID in the token.
	KeyIDs map[string]int
	// Refused describes the latest responses other than 200.
	Refused []string
}

// refused returns how many requests were not allowed.
func (c tally) refused() int {
	n := 0
	for status, count := range c.Answers {
		if status != http.StatusOK {
			n += count
		}
	}
	return n
}

// tally returns the tally of the client that calls through the proxy.
func (c *cluster) tally(t *testing.T) tally {
	t.Helper()
	return c.tallyOf(t, "client")
}

// tallyOf returns the tally of a client's pod.
func (c *cluster) tallyOf(t *testing.T, deployment string) tally {
	t.Helper()
	var now tally
	NewWithT(t).Eventually(func() error {
		pods := c.pods(t, "warehouse", deployment)
		if len(pods) != 1 {
			return fmt.Errorf("%d pods of %s", len(pods), deployment)
		}
		var err error
		now, err = fetchTally(t.Context(), "http://"+pods[0].Status.PodIP+":8080/tally")
		return err
	}, nodeTimeout, "200ms").Should(Succeed())
	return now
}

func fetchTally(ctx context.Context, url string) (now tally, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return now, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return now, err
	}
	defer response.Body.Close()
	err = json.NewDecoder(response.Body).Decode(&now)
	return now, err
}

// passes waits until so many more requests have been allowed.
func (c *cluster) passes(t *testing.T, more int) {
	t.Helper()
	goal := c.tally(t).Answers[http.StatusOK] + more
	NewWithT(t).Eventually(func() int {
		return c.tally(t).Answers[http.StatusOK]
	}, nodeTimeout, "200ms").Should(BeNumerically(">=", goal))
}

// underLoad does something while the clients send requests, and keeps watching for a while. At most mayFail of the
// requests through the proxy may fail. If that is none, no direct request to the verifier may fail either.
func (c *cluster) underLoad(t *testing.T, mayFail int, do func()) {
	t.Helper()
	c.passes(t, 100)
	proxied, direct := c.tally(t), c.tallyOf(t, "impatient")
	do()
	c.passes(t, 500)
	compare(t, "client", proxied, c.tally(t), mayFail)
	if mayFail == 0 {
		compare(t, "impatient", direct, c.tallyOf(t, "impatient"), 0)
	}
}

func compare(t *testing.T, client string, before, after tally, mayFail int) {
	t.Helper()
	failed := after.refused() - before.refused()
	t.Logf("%s: %d requests passed meanwhile, %d did not", client,
		after.Answers[http.StatusOK]-before.Answers[http.StatusOK], failed)
	if failed > mayFail {
		t.Errorf("%s: %d requests failed, where %d may; the latest:\n%s", client, failed, mayFail,
			strings.Join(after.Refused, "\n"))
	}
}

// lastID returns the ID of the key that has been used since an earlier tally. There must be exactly one.
func lastID(t *testing.T, before, after tally) string {
	t.Helper()
	used := slices.DeleteFunc(slices.Collect(maps.Keys(after.KeyIDs)), func(id string) bool {
		return after.KeyIDs[id] == before.KeyIDs[id]
	})
	if len(used) != 1 {
		t.Fatalf("keys %v have been used, and not one", used)
	}
	return used[0]
}
