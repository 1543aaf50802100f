package keys_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
)

const (
	object = `{"apiVersion":"keys.nexuscommerce.io/v1alpha1","kind":"%s",` +
		`"metadata":{"namespace":"shop","name":"%s","resourceVersion":"%s"}}`
	gone      = `{"type":"ERROR","object":{"apiVersion":"v1","kind":"Status",` +
		`"status":"Failure","reason":"Expired","code":410}}`
	exhausted = `{"type":"ERROR","object":{"apiVersion":"v1","kind":"Status",` +
		`"status":"Failure","reason":"Timeout","code":504}}`
)

// event returns an event of a watch of keys.
func event(kind, name, version string) string {
	return fmt.Sprintf(`{"type":"%s","object":`+object+`}`, kind, "ApiKey", name, version)
}

// watched stands for an API server that has one key, and whose watches are given: each is closed after its last event.
type watched struct {
	watches [][]string
	// forbidden refuses any watch beyond those.
	forbidden bool
	lists     int
	// versions are those that watches were asked for from.
	versions []string
}

// ServeHTTP implements http.Handler. Requests come one after the other.
func (s *watched) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("watch") == "" {
		s.lists++
		_, _ = fmt.Fprintf(w, `{"apiVersion":"keys.nexuscommerce.io/v1alpha1","kind":"ApiKeyList",`+
			`"metadata":{"resourceVersion":"1"},"items":[`+object+`]}`, "ApiKey", "listed", "1")
		return
	}
	n := len(s.versions)
	s.versions = append(s.versions, r.URL.Query().Get("resourceVersion"))
	if n < len(s.watches) {
		for _, text := range s.watches[n] {
			_, _ = fmt.Fprintln(w, text)
		}
		return
	}
	if s.forbidden {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprint(w, `{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"Forbidden","code":403}`)
		return
	}
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func (s *watched) client(t *testing.T) *keys.Client {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := keys.NewClient(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// follow returns what Follow tells, until it ends or a key of the given name is gone.
func follow(t *testing.T, c *keys.Client, until string) (told []string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	say := func(what string, all ...keysv1alpha1.ApiKey) {
		for i := range all {
			told = append(told, what+" "+all[i].Name)
		}
	}
	err = c.Follow(ctx, "shop", &keys.Follower{
		Listed:  func(part []keysv1alpha1.ApiKey) error { say("listed", part...); return nil },
		Synced:  func() error { return nil },
		Changed: func(key *keysv1alpha1.ApiKey) error { say("changed", *key); return nil },
		Gone: func(key *keysv1alpha1.ApiKey) error {
			say("gone", *key)
			if key.Name == until {
				return errEnough
			}
			return nil
		},
	})
	return told, err
}

var errEnough = errors.New("enough")

// TestFollowGoesOn checks that a watch which the API server closes is continued from the last version that it told of,
// without a list.
func TestFollowGoesOn(t *testing.T) {
	server := &watched{watches: [][]string{
		{event("ADDED", "a", "5"), event("BOOKMARK", "", "7")},
		{event("MODIFIED", "b", "8"), exhausted},
		{event("DELETED", "b", "9")},
	}}
	told, err := follow(t, server.client(t), "b")
	if want := []string{
		"listed listed",
		"changed a",
		"changed b",
		"gone b",
	}; !errors.Is(err, errEnough) ||
		!slices.Equal(told, want) {
		t.Errorf("%q, %v", told, err)
	}
	if want := []string{"1", "7", "8"}; !slices.Equal(server.versions, want) || server.lists != 1 {
		t.Errorf("watches from %q after %d lists", server.versions, server.lists)
	}
}

// TestFollowSaysWhatIsWrong checks that whoever follows is told at once of what trying again does not mend.
func TestFollowSaysWhatIsWrong(t *testing.T) {
	forbidden := &watched{watches: [][]string{{event("ADDED", "a", "5")}}, forbidden: true}
	if told, err := follow(t, forbidden.client(t), ""); !apierrors.IsForbidden(err) || len(told) != 2 {
		t.Errorf("no right any more: %q, %v", told, err)
	}
	expired := &watched{watches: [][]string{{event("ADDED", "a", "5"), gone}}}
	if told, err := follow(t, expired.client(t), ""); !apierrors.IsResourceExpired(err) || len(told) != 2 {
		t.Errorf("too far behind: %q, %v", told, err)
	}
}

// TestAwaitListsAnew checks that a wait whose watch has fallen too far behind goes on with a list.
func TestAwaitListsAnew(t *testing.T) {
	server := &watched{watches: [][]string{{gone}, {event("DELETED", "listed", "9")}}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	key := &keysv1alpha1.ApiKey{}
	key.Namespace, key.Name = "shop", "listed"
	never := func(*keysv1alpha1.ApiKey) (bool, error) { return false, nil }
	err := server.client(t).Await(ctx, []*keysv1alpha1.ApiKey{key}, never, func(*keysv1alpha1.ApiKey, bool) {})
	if err == nil || ctx.Err() != nil || server.lists != 2 {
		t.Errorf("%v after %d lists", err, server.lists)
	}
}
