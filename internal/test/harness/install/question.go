package install

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// Question is what a proxy asks a verifier about a request for fixture.Host.
type Question struct {
	// Token is the bearer's, if there is one, and TenantID what the request says that its tenant is.
	Token, TenantID string
	// Method and Target are the request's: by default, that it reads products.
	Method, Target string
}

// Request returns the question as nginx asks it, at the URL of a verifier.
func (q Question) Request(ctx context.Context, verifier string) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, verifier+"/auth/nginx", http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Header.Set("X-Original-URL", "https://"+fixture.Host+cmp.Or(q.Target, "/api/products"))
	request.Header.Set("X-Original-Method", cmp.Or(q.Method, http.MethodGet))
	request.Header.Set("X-Tenant-ID", q.TenantID)
	if q.Token != "" {
		request.Header.Set("Authorization", "Bearer "+q.Token)
	}
	return request, nil
}

// Answer is what a verifier answers to a question.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Ask asks the verifier once.
func (v *Verifier) Ask(ctx context.Context, q Question) (Answer, error) {
	request, err := q.Request(ctx, v.URL(v.HTTP, ""))
	if err != nil {
		return Answer{}, err
	}
	response, err := v.Web.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return Answer{Status: response.StatusCode, Header: response.Header, Body: string(body)}, err
}

// AwaitAnswer asks until the answer has a status and a text in its body, and returns it.
func (v *Verifier) AwaitAnswer(t testing.TB, q Question, status int, text string) Answer {
	t.Helper()
	var last Answer
	program.WaitUntil(t, Timeout, fmt.Sprintf("%s %s: %d %s", q.Method, q.Target, status, text), func() (err error) {
		last, err = v.Ask(t.Context(), q)
		if err == nil && (last.Status != status || !strings.Contains(last.Body, text)) {
			err = fmt.Errorf("%d %s", last.Status, last.Body)
		}
		return err
	})
	return last
}
