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
	gone = `{"type":"ERROR","object":{"apiVersion":"v1","kind":"Status",` +
		`"status":"Failure","reason":"Expired","code":410}}`
	exhausted = `{"type":"ERROR","object":{"apiVersion":"v1","kind":"Status",` +
		`"status":"Failure","reason":"Timeout","code":504}}`
)

// event returns an event of a watch of keys.
func event(kind, name, version string) string {
	return fmt.Sprintf(`{"type":%q,"object":`+object+`}`, kind, "ApiKey", name, version)
}

// watched is an API server with one key and the given watches. It closes each after its last event.
type watched struct {
	watches [][]string
	// forbidden refuses any watch beyond those.
	forbidden bool
	lists     int
	// versions are the resourceVersions that watches were started from.
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

// follow returns what Follow reports, until it ends or a key of the given name is gone.
func follow(t *testing.T, c *keys.Client, until string) (reported []string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	say := func(what string, all ...keysv1alpha1.ApiKey) {
		for i := range all {
			reported = append(reported, what+" "+all[i].Name)
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
	return reported, err
}

var errEnough = errors.New("enough")

// TestFollowGoesOn checks that a watch which the API server closes is continued from its last version, without a list.
func TestFollowGoesOn(t *testing.T) {
	server := &watched{watches: [][]string{
		{event("ADDED", "a", "5"), event("BOOKMARK", "", "7")},
		{event("MODIFIED", "b", "8"), exhausted},
		{event("DELETED", "b", "9")},
	}}
	reported, err := follow(t, server.client(t), "b")
	if want := []string{
		"listed listed",
		"changed a",
		"changed b",
		"gone b",
	}; !errors.Is(err, errEnough) ||
		!slices.Equal(reported, want) {
		t.Errorf("%q, %v", reported, err)
	}
	if want := []string{"1", "7", "8"}; !slices.Equal(server.versions, want) || server.lists != 1 {
		t.Errorf("watches from %q after %d lists", server.versions, server.lists)
	}
}

// TestFollowSaysWhatIsWrong checks that Follow returns errors at once if trying again is of no use.
func TestFollowSaysWhatIsWrong(t *testing.T) {
	forbidden := &watched{watches: [][]string{{event("ADDED", "a", "5")}}, forbidden: true}
	if reported, err := follow(t, forbidden.client(t), ""); !apierrors.IsForbidden(err) || len(reported) != 2 {
		t.Errorf("no right any more: %q, %v", reported, err)
	}
	expired := &watched{watches: [][]string{{event("ADDED", "a", "5"), gone}}}
	if reported, err := follow(t, expired.client(t), ""); !apierrors.IsResourceExpired(err) || len(reported) != 2 {
		t.Errorf("too far behind: %q, %v", reported, err)
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
