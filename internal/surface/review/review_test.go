package review_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/surface/review"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/identify"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

const (
	acme  = identify.Tenant
	guess = identify.Guess
	// audience is the API server's own.
	audience = "https://kubernetes.default.svc"
)

func post(t *testing.T, d *identify.Decider, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	return identify.Post(t, review.NewHandler(d, []string{"other", audience}), "application/json", body, change...)
}

const question = `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1",` +
	`"metadata":{"creationTimestamp":null},` +
	`"spec":{"token":"` + guess + `","audiences":["` + audience + `"]},"status":{"user":{}}}`

func answer(t *testing.T, w *httptest.ResponseRecorder) authenticationv1.TokenReview {
	t.Helper()
	var got authenticationv1.TokenReview
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d, %v: %s", w.Code, err, w.Body)
	}
	if got.APIVersion != "authentication.k8s.io/v1" || got.Kind != "TokenReview" {
		t.Errorf("answered with a %s of %s", got.Kind, got.APIVersion)
	}
	return got
}

func TestAuthenticated(t *testing.T) {
	d := &identify.Decider{Decision: identify.Active()}
	got := answer(t, post(t, d, question)).Status
	want := authenticationv1.TokenReviewStatus{
		Authenticated: true,
		Audiences:     []string{audience},
		User: authenticationv1.UserInfo{
			Username: "nexuscommerce:tenant:" + acme + ":key:warehouse/storefront",
			Groups: []string{
				"nexuscommerce:keys", "nexuscommerce:tenant:" + acme,
				"nexuscommerce:tenant:" + acme + ":scope:products:read", "nexuscommerce:tenant:" + acme + ":scope:orders:*",
			},
			Extra: map[string]authenticationv1.ExtraValue{
				"keys.nexuscommerce.io/credential-id": {"7Hk2PqZx"},
				"keys.nexuscommerce.io/apikey":        {"warehouse/storefront"},
				"keys.nexuscommerce.io/tenant-id":     {acme},
				"keys.nexuscommerce.io/scopes":        {"products:read", "orders:*"},
			},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	d.CheckAsked(t, "review")
}

// TestForATenant checks that the reviews for a tenant are decided for that tenant.
func TestForATenant(t *testing.T) {
	d := &identify.Decider{Decision: identify.Active()}
	tenant, _ := index.ParseTenantID(acme)
	w := identify.Post(t, review.NewHandler(d, []string{audience}).For(tenant), "application/json", question)
	if !answer(t, w).Status.Authenticated || d.Tenant == nil || *d.Tenant != tenant {
		t.Errorf("asked for tenant %v", d.Tenant)
	}
}

// TestNamesAreNobodyElses checks that a key never authenticates one of Kubernetes' own users or groups, or another
// tenant's.
func TestNamesAreNobodyElses(t *testing.T) {
	user := answer(t, post(t, &identify.Decider{Decision: identify.Active()}, question)).Status.User
	for _, name := range append(user.Groups, user.Username) {
		if !strings.HasPrefix(name, "nexuscommerce:") {
			t.Error(name)
		}
	}
	for name := range user.Extra {
		if name != strings.ToLower(name) || !strings.HasPrefix(name, "keys.nexuscommerce.io/") {
			t.Error(name)
		}
	}
}

func TestNotAuthenticated(t *testing.T) {
	for reason, message := range map[verify.Reason]string{
		verify.ReasonMalformedToken:    "The API key is not valid.",
		verify.ReasonUnknownToken:      "The API key is not valid.",
		verify.ReasonTenantRequired:    "The API key is not valid.",
		verify.ReasonRevoked:           "The API key has been revoked.",
		verify.ReasonAddressNotAllowed: "The API key may not be used from this address.",
		verify.ReasonUnavailable:       "The API key could not be checked. Try again later.",
		"":                             "The API key could not be checked. Try again later.",
	} {
		for _, outcome := range []verify.Outcome{verify.Unauthorized, verify.Forbidden, verify.Unavailable} {
			w := post(t, &identify.Decider{
				Decision: verify.Decision{Outcome: outcome, Reason: reason, Grant: identify.Active().Grant},
			}, question)
			got := answer(t, w).Status
			if !reflect.DeepEqual(got, authenticationv1.TokenReviewStatus{Error: message}) ||
				strings.Contains(w.Body.String(), guess) {
				t.Errorf("%s: %s", reason, w.Body)
			}
		}
	}
}

// TestUnlistedAudiences checks that an audience that is not on the list gets the same answer for every token, valid or
// not, and that nothing is decided.
func TestUnlistedAudiences(t *testing.T) {
	for name, audiences := range map[string]string{
		"none": ``, "no list": `,"audiences":null`, "an empty list": `,"audiences":[]`, "another": `,"audiences":["vault"]`,
		"blank":      `,"audiences":[""]`,
		"a part":     `,"audiences":["https://kubernetes.default"]`,
		"upper case": `,"audiences":["HTTPS://KUBERNETES.DEFAULT.SVC"]`,
	} {
		for _, decision := range []verify.Decision{
			identify.Active(), {Outcome: verify.Unauthorized, Reason: verify.ReasonRevoked},
		} {
			d := &identify.Decider{Decision: decision}
			w := post(
				t, d, `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{"token":"`+guess+`"`+audiences+`}}`,
			)
			want := authenticationv1.TokenReviewStatus{
				Error: "The verifier answers no reviews for these audiences: see --review-audiences.",
			}
			if got := answer(t, w).Status; !reflect.DeepEqual(got, want) || d.Asked || strings.Contains(w.Body.String(), acme) {
				t.Errorf("%s: asked %t, %s", name, d.Asked, w.Body)
			}
		}
	}
	d := &identify.Decider{Decision: identify.Active()}
	if w := identify.Post(t, review.NewHandler(d, nil), "application/json", question); answer(t, w).Status.Authenticated ||
		d.Asked {
		t.Errorf("with no list at all: %s", w.Body)
	}
	some := strings.Replace(question, `["`, `["vault","`, 1)
	if got := answer(t, post(t, d, some)).Status; !got.Authenticated ||
		!reflect.DeepEqual(got.Audiences, []string{audience}) {
		t.Errorf("one of two: %+v", got)
	}
}

// FuzzNames checks that no name of a tenant, a key or a scope leads to a user, a group or an extra of somebody else.
func FuzzNames(f *testing.F) {
	f.Add("system:masters", "system:masters", "system:masters system:admin")
	f.Add("", "", "")
	f.Add("\nsystem:masters", "a/b\x00system:masters", "a\tsystem:masters")
	f.Fuzz(func(t *testing.T, tenant, key, scopes string) {
		decision := identify.Active()
		decision.TenantID, decision.Grant.Name, decision.Grant.ScopesHeader = tenant, key, scopes
		user := answer(t, post(t, &identify.Decider{Decision: decision}, question)).Status.User
		for _, name := range append(user.Groups, user.Username) {
			if name != "" && !strings.HasPrefix(name, "nexuscommerce:") {
				t.Errorf("%q", name)
			}
		}
		for name := range user.Extra {
			if !strings.HasPrefix(name, "keys.nexuscommerce.io/") {
				t.Errorf("%q", name)
			}
		}
	})
}

// TestBadReviews checks that invalid reviews are not decided, and that the answer repeats nothing of them (S2).
func TestBadReviews(t *testing.T) {
	for name, test := range map[string]struct {
		body   string
		method string
		status int32
		says   string
	}{
		"another version": {strings.Replace(
			question, "authentication.k8s.io/v1", "authentication.k8s.io/v1beta1", 1,
		), "POST", 400, "--authentication-token-webhook-version=v1"},
		"another kind": {
			strings.Replace(question, `"TokenReview"`, `"TokenRequest"`, 1), "POST", 400, "authentication.k8s.io/v1",
		},
		"no version":        {`{"spec":{"token":"` + guess + `"}}`, "POST", 400, "authentication.k8s.io/v1"},
		"no JSON":           {guess, "POST", 400, "JSON"},
		"a list":            {"[" + question + "]", "POST", 400, "JSON"},
		"two of them":       {question + question, "POST", 400, "JSON"},
		"a number":          {strings.Replace(question, `"`+guess+`"`, "4711", 1), "POST", 400, "JSON"},
		"cut off":           {question[:len(question)-3], "POST", 400, "JSON"},
		"nothing":           {"", "POST", 400, "JSON"},
		"too long":          {strings.Replace(question, guess, strings.Repeat(guess, 4000), 1), "POST", 413, "too long"},
		"by another method": {question, "GET", 405, "POST"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &identify.Decider{Decision: identify.Active()}
			w := post(t, d, test.body, func(r *http.Request) { r.Method = test.method })
			var status metav1.Status
			if err := json.Unmarshal(w.Body.Bytes(), &status); err != nil {
				t.Fatal(err)
			}
			if int32(w.Code) != test.status || status.Code != test.status || status.Status != "Failure" ||
				!strings.Contains(status.Message, test.says) {
				t.Errorf("status %d, %s", w.Code, w.Body)
			}
			if d.Asked || strings.Contains(w.Body.String(), guess) || strings.Contains(w.Body.String(), "4711") {
				t.Errorf("asked: %t, %s", d.Asked, w.Body)
			}
		})
	}
}

// TestNamesHaveOneSpelling checks that a field in another case is ignored, as everywhere in Kubernetes.
func TestNamesHaveOneSpelling(t *testing.T) {
	d := &identify.Decider{Decision: identify.Active()}
	post(
		t, d,
		`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{"token":"a","Token":"b",`+
			`"audiences":["`+audience+`"]}}`,
	)
	if d.Token != "a" {
		t.Errorf("asked about %q", d.Token)
	}
}

// FuzzReview checks that every body gets an answer in JSON, and that nothing is authenticated without a decision.
func FuzzReview(f *testing.F) {
	for _, seed := range []string{
		question, "{}", "null", `{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":null}`,
		`{"spec":{"token":{}}}`,
		`{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{"token":"a","token":"b"}}`,
		strings.Repeat("[", 10000), "\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		d := &identify.Decider{Decision: identify.Active()}
		w := post(t, d, body)
		var got authenticationv1.TokenReview
		if err := json.Unmarshal(w.Body.Bytes(), &struct{}{}); err != nil {
			t.Fatalf("%q: %s", body, w.Body)
		}
		_ = json.Unmarshal(w.Body.Bytes(), &got) // A Status is not a TokenReview.
		if got.Status.Authenticated != d.Asked || d.Asked && w.Code != http.StatusOK {
			t.Errorf("%q: status %d, asked: %t, %s", body, w.Code, d.Asked, w.Body)
		}
	})
}
