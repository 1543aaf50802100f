package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// checkCommand is the argument that makes the program ask a verifier once, and end: helm test runs it.
const checkCommand = "check"

// probePath is a dialect in which the URL says all about the request.
const probePath = "/auth/static?scope=canary:none"

// check asks the verifier that flags name about a token that nobody has, until it gives the answer that only a verifier
// whose data is complete and up to date gives: that the token is unknown.
func check(ctx context.Context, arguments []string, out io.Writer) error {
	flags := flag.NewFlagSet(programName+" "+checkCommand, flag.ContinueOnError)
	flags.SetOutput(out)
	url := flags.String("url", "", "URL of the verifier, such as https://apikey-verifier.apikey-system.svc:8080.")
	authority := flags.String("ca-file", "", "File of the authority that has signed the verifier's certificate, in PEM.")
	timeout := flags.Duration("timeout", time.Minute, "How long to try.")
	if err := flags.Parse(arguments); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	unknown, err := token.New(rand.Reader, token.FormatLive)
	if err != nil {
		return err
	}
	web, err := clientTrusting(*authority)
	if err != nil {
		return err
	}
	var last error
	if err := wait.PollUntilContextTimeout(ctx, time.Second, *timeout, true, func(ctx context.Context) (bool, error) {
		err := refuses(ctx, web, *url, unknown.Reveal())
		if last == nil || ctx.Err() == nil { // What is cut off at the end says less than what came before.
			last = err
		}
		return err == nil, nil
	}); err != nil {
		return errors.Join(last, err)
	}
	_, err = fmt.Fprintf(out, "The verifier at %s is up to date: it refuses a key that it does not know.\n", *url)
	return err
}

// clientTrusting returns an HTTP client that checks servers by the authorities in a file, or if there is none by those
// of the system.
func clientTrusting(file string) (*http.Client, error) {
	transport := &http.Transport{}
	if file != "" {
		content, err := os.ReadFile(file) //nolint:gosec // The file that the flag names.
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		authorities := x509.NewCertPool()
		if !authorities.AppendCertsFromPEM(content) {
			return nil, fmt.Errorf("--ca-file: %s has no certificate in PEM", file)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}, nil
}

// refuses returns nil if a verifier says of a token that it does not know it.
func refuses(ctx context.Context, web *http.Client, url, unknown string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+probePath, http.NoBody)
	if err != nil {
		return fmt.Errorf("--url: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+unknown)
	request.Header.Set("X-Tenant-ID", string(uuid.NewUUID()))
	response, err := web.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Reason  string `json:"reason"`
		Message string `json:"message"`
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<16)).Decode(&answer); err != nil {
		return fmt.Errorf("%s answers %s, and not as a verifier does: %w", url, response.Status, err)
	}
	if response.StatusCode != http.StatusUnauthorized || answer.Reason != "invalid_token" {
		return fmt.Errorf("%s answers %s to a key that nobody has: %s: %s",
			url, response.Status, answer.Reason, answer.Message)
	}
	return nil
}
