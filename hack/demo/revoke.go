package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// revocationBound is how long a token may still be accepted after the API server has acknowledged a revocation.
const revocationBound = time.Second

// stamped is a buffer that records the time of the first write. For a kubectl that changes one object, this is when the
// API server's acknowledgement arrived. The buffer is not embedded: its ReadFrom would bypass Write.
type stamped struct {
	text  bytes.Buffer
	first time.Time
}

// Write implements io.Writer.
func (s *stamped) Write(p []byte) (int, error) {
	if s.first.IsZero() {
		s.first = time.Now()
	}
	return s.text.Write(p)
}

// revocation is what polling has seen of a token's revocation.
type revocation struct {
	acknowledged time.Time
	lastAccepted time.Time // when the last request that was answered 200 was sent
	refused      time.Time // when the first 401 arrived
	requests     int
	answer       answer // the first 401
}

// lag returns the time from the acknowledgement to the first 401.
func (r revocation) lag() time.Duration { return r.refused.Sub(r.acknowledged) }

// String returns the measurement as the transcript shows it.
func (r revocation) String() string {
	if r.lag() <= 0 {
		return "before kubectl had so much as printed the acknowledgement"
	}
	return fmt.Sprintf("%s after the API server's acknowledgement", r.lag().Round(100*time.Microsecond))
}

// check returns an error if a token was accepted for longer than the bound, or was not refused within it.
func (r revocation) check() error {
	if r.lastAccepted.IsZero() || r.acknowledged.IsZero() {
		return errors.New("expected the token to be accepted until the API server has acknowledged the revocation, and " +
			"kubectl to say so")
	}
	if late := r.lastAccepted.Sub(r.acknowledged); late > revocationBound {
		return fmt.Errorf("expected no token to be accepted later than %s after the acknowledgement, one was after %s",
			revocationBound, late)
	}
	if r.lag() > revocationBound {
		return fmt.Errorf("expected the first 401 within %s of the acknowledgement, got it after %s", revocationBound,
			r.lag())
	}
	return nil
}

// revoke runs a kubectl command that revokes a key while it calls the API with that key's token, one request after
// another, and measures how long the token is still accepted.
func (d *demo) revoke(ctx context.Context, c *caller, r request, args ...string) (revocation, error) {
	d.say.typed("kubectl " + shell(args...))
	var out stamped
	command := d.cluster.command(ctx, args...)
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		return revocation{}, err
	}
	// Without a limit, the loop below would run for as long as the token is accepted.
	polling, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan error, 1)
	go func() {
		err := command.Wait()
		done <- err
		if err != nil {
			stop(err)
			return
		}
		select {
		case <-polling.Done():
		case <-time.After(2 * revocationBound):
			stop(fmt.Errorf("expected a 401 within %s of the acknowledgement, the token was still accepted after %s",
				revocationBound, 2*revocationBound))
		}
	}()
	seen, pollErr := pollUntilRefused(polling, c, r)
	if err := <-done; err != nil {
		return seen, fmt.Errorf("%w: %s", err, out.text.String())
	}
	d.say.block(out.text.String())
	seen.acknowledged = out.first
	if pollErr != nil {
		return seen, pollErr
	}
	return seen, seen.check()
}

// pollUntilRefused repeats the request until it is refused.
func pollUntilRefused(ctx context.Context, c *caller, r request) (revocation, error) {
	var seen revocation
	for {
		sent := time.Now()
		got, err := c.send(ctx, r)
		if cause := context.Cause(ctx); cause != nil {
			return seen, cause
		}
		if err != nil {
			return seen, err
		}
		seen.requests++
		switch got.status {
		case http.StatusOK:
			seen.lastAccepted = sent
		case http.StatusUnauthorized:
			seen.refused = time.Now()
			seen.answer = got
			return seen, expectation{status: http.StatusUnauthorized, challenge: []string{`error="invalid_token"`}}.check(got)
		default:
			return seen, fmt.Errorf("expected 200 and then 401, got %s", got)
		}
		time.Sleep(time.Millisecond) // Leaves the processors to what is being measured.
	}
}
