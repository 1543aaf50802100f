package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// client calls an API as an application does that reads its key from a mounted Secret.
type client struct {
	url, tenant, tokenFile string
	// rest is how long a worker waits between two requests.
	rest time.Duration
	http *http.Client

	mu    sync.Mutex
	tally Tally
}

// Tally has the results of a client's requests so far. GET /tally returns it as JSON.
type Tally struct {
	// Answers counts the responses by status; requests without a response count as 0.
	Answers map[int]int `json:"answers"`
	// KeyIDs counts the accepted requests by the public ID of their token.
	KeyIDs map[string]int `json:"keyIDs"`
	// Refused describes the latest responses other than 200, the newest last.
	Refused []string `json:"refused"`
}

// keptRefused is how many responses are described.
const keptRefused = 20

func runClient(ctx context.Context, args []string) error {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	c := &client{
		http:  &http.Client{Timeout: 10 * time.Second, Transport: transport},
		tally: Tally{Answers: map[int]int{}, KeyIDs: map[string]int{}},
	}
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	flags.StringVar(&c.url, "url", "", "what to call")
	flags.StringVar(&c.tenant, "tenant", "", "the X-Tenant-ID header")
	flags.StringVar(&c.tokenFile, "token-file", "", "the mounted token")
	flags.DurationVar(&c.rest, "rest", 20*time.Millisecond, "how long each worker waits between two requests")
	flags.BoolVar(&transport.DisableKeepAlives, "connect-each-time", false,
		"a connection for each request, which is then never made twice")
	serverName := flags.String("server-name", "",
		"the name to check the server's certificate by, where it is not that of the URL")
	caFile := flags.String("ca-file", "", "the authorities to check it by, where they are not the system's")
	workers := flags.Int("workers", 8, "how many requests there are at the same time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := trust(transport, *serverName, *caFile); err != nil {
		return err
	}
	for range *workers {
		go c.work(ctx)
	}
	return serve(ctx, http.HandlerFunc(c.report))
}

// trust makes a transport check servers' certificates by a name and authorities, if they are given.
func trust(transport *http.Transport, serverName, caFile string) error {
	transport.TLSClientConfig = &tls.Config{ServerName: serverName, MinVersion: tls.VersionTLS12}
	if caFile == "" {
		return nil
	}
	content, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(content) {
		return fmt.Errorf("%s has no certificate", caFile)
	}
	return nil
}

// work sends one request after another, until the context ends.
func (c *client) work(ctx context.Context) {
	for ctx.Err() == nil {
		id, status, detail := c.call(ctx)
		if ctx.Err() == nil {
			c.count(id, status, detail)
		}
		select {
		case <-ctx.Done():
		case <-time.After(c.rest):
		}
	}
}

// call sends one request with the token that is in the file now. It returns that token's public ID, the status (0
// without a response) and a description of a response other than 200. None of them holds a token.
func (c *client) call(ctx context.Context) (id string, status int, detail string) {
	token, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return "", 0, "no token to send: " + err.Error()
	}
	token = bytes.TrimSpace(token)
	if len(token) < len("nxc_live_")+8 {
		return "", 0, "the file holds no token"
	}
	id = string(token[len("nxc_live_") : len("nxc_live_")+8])

	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, http.NoBody)
	if err != nil {
		return id, 0, err.Error()
	}
	request.Header.Set("Authorization", "Bearer "+string(token))
	request.Header.Set("X-Tenant-ID", c.tenant)
	response, err := c.http.Do(request)
	if err != nil {
		return id, 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 200))
	if err != nil {
		return id, 0, err.Error()
	}
	return id, response.StatusCode, string(body)
}

func (c *client) count(id string, status int, detail string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tally.Answers[status]++
	if status == http.StatusOK {
		c.tally.KeyIDs[id]++
		return
	}
	c.tally.Refused = append(c.tally.Refused,
		fmt.Sprintf("%s key %s: %d %s", time.Now().Format(time.StampMilli), id, status, detail))
	if len(c.tally.Refused) > keptRefused {
		c.tally.Refused = c.tally.Refused[1:]
	}
}

// report responds with the tally.
func (c *client) report(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(c.tally)
}
