package browser_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/go-rod/rod"
	"github.com/go-rod/rod/lib/proto"
)

// record is what a browser reports about a page beside what it shows.
type record struct {
	stop func()

	mu        sync.Mutex
	complains []string
	urls      []string
	requests  []string // headers except cookies
	responses []response
	received  int
}

type response struct {
	url    string
	status int
	header map[string]string // by names in lower case
}

func startRecord(page *rod.Page) *record {
	r := &record{}
	listening, stop := page.WithCancel()
	r.stop = stop
	wait := listening.EachEvent(
		func(e *proto.LogEntryAdded) {
			if e.Entry.Level == proto.LogLogEntryLevelError || e.Entry.Level == proto.LogLogEntryLevelWarning {
				r.complain("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
			}
		},
		func(e *proto.RuntimeConsoleAPICalled) {
			if e.Type == proto.RuntimeConsoleAPICalledTypeError || e.Type == proto.RuntimeConsoleAPICalledTypeWarning {
				r.complain("console: %v", e.Args)
			}
		},
		func(e *proto.RuntimeExceptionThrown) {
			r.complain("exception: %s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
		},
		func(e *proto.AuditsIssueAdded) {
			if e.Issue.Details.ContentSecurityPolicyIssueDetails != nil {
				r.complain("content security policy: %+v", e.Issue.Details.ContentSecurityPolicyIssueDetails)
			}
		},
		func(e *proto.NetworkRequestWillBeSent) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.urls = append(r.urls, e.Request.URL)
			for name, value := range e.Request.Headers {
				r.requests = append(r.requests, name+": "+value.Str())
			}
		},
		func(e *proto.NetworkResponseReceived) {
			header := map[string]string{}
			for name, value := range e.Response.Headers {
				header[strings.ToLower(name)] = value.Str()
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.responses = append(r.responses, response{e.Response.URL, e.Response.Status, header})
			r.received += int(e.Response.EncodedDataLength) // The header's size.
		},
		func(e *proto.NetworkDataReceived) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.received += e.EncodedDataLength
		},
	)
	go wait()
	return r
}

func (r *record) complain(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.complains = append(r.complains, fmt.Sprintf(format, args...))
}

func (r *record) complaints() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.complains
}

// bytes returns how much was transferred over the network.
func (r *record) bytes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.received
}

// checkHeaders checks the headers of each of the console's responses.
func (r *record) checkHeaders(t *testing.T, origin string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, answer := range r.responses {
		if !strings.HasPrefix(answer.url, origin) {
			continue
		}
		if got := answer.header["cache-control"]; got != "no-store" {
			t.Errorf("%s: Cache-Control: %s", answer.url, got)
		}
		policy := answer.header["content-security-policy"]
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'",
			"frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: Content-Security-Policy lacks %s: %s", answer.url, want, policy)
			}
		}
		if strings.Contains(policy, "unsafe") {
			t.Errorf("%s: Content-Security-Policy: %s", answer.url, policy)
		}
	}
}
