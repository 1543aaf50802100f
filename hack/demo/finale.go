package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// list shows the keys and tenants as a platform team sees them.
func (d *demo) list(ctx context.Context, _ *caller) error {
	d.say.step("List the keys and the tenants: no token anywhere, prefixes to recognise them by")
	return errors.Join(
		d.cluster.run(ctx, "get", "apikeys", "-A"),
		d.cluster.run(ctx, "get", "tenants"),
	)
}

// revoked revokes the key, and measures how long it is still accepted.
func (d *demo) revoked(ctx context.Context, c *caller) error {
	d.say.step("Revoke the key while it is in use, and call until the first 401")
	seen, err := d.revoke(ctx, c, request{path: "/products", headers: credentials},
		"patch", "apikey", "-n", sampleNamespace, sampleKey, "--type=merge", "-p", `{"spec":{"state":"Revoked"}}`)
	if err != nil {
		return err
	}
	d.say.line("expected a 401 within %s, got it %s (request %d)", revocationBound, seen, seen.requests)
	d.say.block(seen.answer.detail())
	return d.cluster.run(ctx, "wait", "--for=condition=RevocationEffective", "apikey", "-n", sampleNamespace, sampleKey,
		"--timeout=30s")
}

// checkNoTokens checks that the token is in nothing that the demo has left behind so far.
func (d *demo) checkNoTokens(ctx context.Context, c *caller) error {
	d.say.step("Look for the token where it must not be: objects, events, logs")
	objects := []string{"get", "apikeys,tenants,accesspolicies,events", "-A", "-o", "yaml"}
	d.say.typed("kubectl " + shell(objects...) + ` | grep -c "$TOKEN"`)
	out, err := d.cluster.ask(ctx, objects...)
	if err != nil {
		return err
	}
	inObjects := strings.Count(out, c.variables["TOKEN"])
	d.say.line("expected 0, got %d", inObjects)
	d.say.typed(`cat ` + d.ws.relative(d.ws.logs) + `/*.log | grep -c "$TOKEN"`)
	logs, err := filepath.Glob(d.ws.log("*"))
	if err != nil {
		return err
	}
	inLogs := 0
	for _, path := range logs {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		inLogs += strings.Count(string(content), c.variables["TOKEN"])
	}
	d.say.line("expected 0, got %d", inLogs)
	if inObjects+inLogs > 0 {
		return errors.New("expected the token to be nowhere but in its Secret")
	}
	return nil
}
