package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// caller is a customer's program: it knows the API's address, its tenant and its token, and nothing of Kubernetes.
type caller struct {
	say      transcript
	upstream *upstream
	client   *http.Client
	// variables are the values of the shell variables in a request: long texts, and those that must not be shown.
	variables map[string]string
}

// newCaller returns a caller of the API at an address. Like curl it opens a connection for each request.
func newCaller(say transcript, backend *upstream, address, host string) *caller {
	return &caller{
		say:       say,
		upstream:  backend,
		client:    &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
		variables: map[string]string{"API": "http://" + address + "/api", "HOST": host},
	}
}

// request is what a person would pass to curl. Variables are expanded only when it is sent.
type request struct {
	method  string // blank is GET
	path    string // below $API
	headers []string
	body    string
}

// String returns the request as a person would type it, in two lines.
func (r request) String() string {
	var line strings.Builder
	line.WriteString("curl -i ")
	if r.method != "" {
		line.WriteString("-X " + r.method + " ")
	}
	line.WriteString("$API" + r.path + ` -H "Host: $HOST"`)
	if r.body != "" {
		line.WriteString(" -d " + shell(r.body))
	}
	line.WriteString(" \\\n       ")
	for _, header := range r.headers {
		line.WriteString(` -H "` + header + `"`)
	}
	return line.String()
}

// answer is a response, and the headers of the request as the upstream received it.
type answer struct {
	status    int
	challenge string
	body      string
	upstream  []http.Header
}

// String returns the answer in one line.
func (a answer) String() string {
	return strings.ReplaceAll(fmt.Sprintf("%d\n%s", a.status, a.detail()), "\n", "  ")
}

// detail returns what the answer says besides its status.
func (a answer) detail() string {
	body := shorten(strings.Join(strings.Fields(a.body), " "), 200)
	if a.challenge == "" {
		return body
	}
	return "WWW-Authenticate: " + a.challenge + "\n" + body
}

// send sends a request without showing it.
func (c *caller) send(ctx context.Context, r request) (answer, error) {
	method := r.method
	if method == "" {
		method = http.MethodGet
	}
	expand := func(text string) string {
		return os.Expand(text, func(name string) string { return c.variables[name] })
	}
	httpRequest, err := http.NewRequestWithContext(ctx, method, expand("$API"+r.path), strings.NewReader(r.body))
	if err != nil {
		return answer{}, err
	}
	httpRequest.Host = expand("$HOST")
	for _, header := range r.headers {
		name, value, _ := strings.Cut(header, ": ")
		httpRequest.Header.Add(name, expand(value))
	}
	c.upstream.take()
	response, err := c.client.Do(httpRequest)
	if err != nil {
		return answer{}, err
	}
	body, err := io.ReadAll(response.Body)
	return answer{
		status:    response.StatusCode,
		challenge: response.Header.Get("WWW-Authenticate"),
		body:      string(body),
		upstream:  c.upstream.take(),
	}, errors.Join(err, response.Body.Close())
}

// expectation is what an answer must be. A refused request must not have reached the upstream.
type expectation struct {
	status    int
	challenge []string // parts of WWW-Authenticate, or none
	noError   bool     // WWW-Authenticate has no error code: RFC 6750 for a request without credentials
	body      []string // parts of the body
}

// expect sends and shows a request and its answer, and fails if the answer is not as expected.
func (c *caller) expect(ctx context.Context, r request, want expectation) (answer, error) {
	c.say.typed(r.String())
	got, err := c.send(ctx, r)
	if err != nil {
		return got, err
	}
	c.say.line("expected %d, got %d", want.status, got.status)
	c.say.block(got.detail())
	return got, want.check(got)
}

// check returns how an answer differs from the expectation.
func (e expectation) check(got answer) error {
	if got.status != e.status {
		return fmt.Errorf("expected %d, got %s", e.status, got)
	}
	if len(e.challenge) == 0 && got.challenge != "" {
		return fmt.Errorf("expected no WWW-Authenticate, got %s", got)
	}
	if e.noError && strings.Contains(got.challenge, "error=") {
		return fmt.Errorf("expected a WWW-Authenticate without an error code, got: %s", got.challenge)
	}
	for _, part := range e.challenge {
		if !strings.Contains(got.challenge, part) {
			return fmt.Errorf("expected a WWW-Authenticate with %s, got: %s", part, got.challenge)
		}
	}
	for _, part := range e.body {
		if !strings.Contains(got.body, part) {
			return fmt.Errorf("expected a body with %s, got: %s", part, got.body)
		}
	}
	reaches := 0
	if e.status == http.StatusOK {
		reaches = 1
	}
	if len(got.upstream) != reaches {
		return fmt.Errorf("expected the upstream to see %d requests, it saw %d", reaches, len(got.upstream))
	}
	return nil
}
