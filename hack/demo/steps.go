package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/guide"
)

// The parts of config/samples that the demo uses.
const (
	sampleHost      = guide.Host // of the AccessPolicy
	sampleNamespace = "warehouse"
	sampleKey       = "warehouse-integration" // may read products, and not write them
	sampleTenant    = "3714240b-2e06-4c35-8856-ccc1c096323e"
	otherTenant     = "b1f0a2c4-5d6e-4f70-8a9b-0c1d2e3f4a5b"
	neededScope     = "products:write"
)

// credentials are the headers of a well-behaved client.
var credentials = []string{"Authorization: Bearer $TOKEN", "X-Tenant-ID: $TENANT"}

// walkThrough does what a customer and a platform team do with a key, from its declaration to its revocation.
func (d *demo) walkThrough(ctx context.Context) error {
	c := newCaller(d.say, d.upstream, d.proxy, sampleHost)
	for _, step := range []func(context.Context, *caller) error{
		d.declare,
		d.readToken,
		d.allowed,
		d.refused,
		d.list,
		d.revoked,
		d.checkNoTokens,
	} {
		if err := step(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// declare applies the samples, and waits until all keys in them are ready.
func (d *demo) declare(ctx context.Context, _ *caller) error {
	d.say.step("Declare tenants, their keys and what each route of the API needs")
	if err := d.cluster.run(ctx, "apply", "-k", "config/samples"); err != nil {
		return err
	}
	return d.cluster.run(ctx, "wait", "--for=condition=Ready", "-f", "config/samples/apikeys.yaml", "--timeout=30s")
}

// readToken reads the caller's token from the Secret that the controller has written.
func (d *demo) readToken(ctx context.Context, c *caller) error {
	d.say.step("Read the token, as the workload that mounts the Secret does")
	key, err := d.key(ctx)
	if err != nil {
		return err
	}
	args := []string{"get", "secret", "-n", sampleNamespace, key.Status.SecretName, "-o", "jsonpath={.data.token}"}
	d.say.typed("TOKEN=$(kubectl " + shell(args...) + " | base64 -d)")
	encoded, err := d.cluster.ask(ctx, args...)
	if err != nil {
		return err
	}
	token, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return fmt.Errorf("the Secret's token is no base64: %w", err)
	}
	c.variables["TOKEN"], c.variables["TENANT"] = string(token), key.Status.TenantID
	d.say.typed(fmt.Sprintf("TENANT=%s HOST=%s API=%s", c.variables["TENANT"], c.variables["HOST"], c.variables["API"]))
	if !strings.HasPrefix(string(token), key.Status.Prefix) || key.Status.Prefix == "" {
		return fmt.Errorf("expected a token that starts with the key's prefix %q", key.Status.Prefix)
	}
	d.say.line("expected a token that starts with the key's public prefix, got %s…", key.Status.Prefix)
	return nil
}

// key returns the demo's key.
func (d *demo) key(ctx context.Context) (keysv1alpha1.ApiKey, error) {
	var key keysv1alpha1.ApiKey
	out, err := d.cluster.ask(ctx, "get", "apikey", "-n", sampleNamespace, sampleKey, "-o", "json")
	if err != nil {
		return key, err
	}
	err = json.Unmarshal([]byte(out), &key)
	return key, err
}

// allowed makes an allowed call to the API, and checks what the upstream learns about the caller.
func (d *demo) allowed(ctx context.Context, c *caller) error {
	d.say.step("Read products: allowed. Headers that a client forges don't reach the API, neither who calls nor what " +
		"is asked for")
	forged := []string{
		"X-Api-Key-Name: " + sampleNamespace + "/admin", "X-Api-Key-Scopes: *", "X_Api_Key_Scopes: *",
		"X-HTTP-Method-Override: DELETE", "X-Original-URL: /api/orders",
	}
	if p := guide.Proxies[d.proxyName]; p.RefusesUnderscores {
		forged = slices.Delete(forged, 2, 3)
		d.say.line("%s would answer 400 to X_Api_Key_Scopes, so it is left out", p.Title)
	}
	got, err := c.expect(ctx, request{path: "/products", headers: slices.Concat(credentials, forged)},
		expectation{status: http.StatusOK, body: []string{sampleNamespace + "/" + sampleKey}})
	if err != nil {
		return err
	}
	key, err := d.key(ctx)
	if err != nil {
		return err
	}
	scopes := make([]string, len(key.Status.Scopes))
	for i, scope := range key.Status.Scopes {
		scopes[i] = string(scope)
	}
	want := []struct{ name, value string }{
		{"X-Api-Key-Id", key.Status.Credentials[len(key.Status.Credentials)-1].ID},
		{"X-Api-Key-Name", key.Namespace + "/" + key.Name},
		{"X-Api-Key-Scopes", strings.Join(scopes, " ")},
		{"X-Api-Key-Tenant", key.Status.TenantID},
	}
	d.say.line("the API was told:")
	for _, header := range want {
		values := got.upstream[0].Values(header.name)
		d.say.line("  %s: %s", header.name, strings.Join(values, " | "))
		if len(values) != 1 || values[0] != header.value {
			return fmt.Errorf("expected the upstream to see %s: %s, it saw %q", header.name, header.value, values)
		}
	}
	for _, header := range forged[2:] {
		if name, _, _ := strings.Cut(header, ":"); got.upstream[0].Get(name) != "" {
			return fmt.Errorf("expected the upstream to see no %s, it saw %q", name, got.upstream[0].Values(name))
		}
	}
	if strings.Contains(fmt.Sprint(got.upstream[0]), c.variables["TOKEN"]) {
		return fmt.Errorf("expected the token to end at the proxy, the upstream saw it")
	}
	d.say.line("and saw no token: the proxy keeps it")
	return nil
}

// refused calls the API in each way that must be refused.
func (d *demo) refused(ctx context.Context, c *caller) error {
	for _, attempt := range []struct {
		title   string
		request request
		want    expectation
	}{{
		"Create a product with this key, which may only read: 403, and what is missing",
		request{method: http.MethodPost, path: "/products", headers: credentials, body: `{"name":"sofa"}`},
		expectation{
			status: http.StatusForbidden, challenge: []string{`error="insufficient_scope"`, `scope="` + neededScope + `"`},
		},
	}, {
		"Use the key as another tenant: 403",
		request{path: "/products", headers: []string{credentials[0], "X-Tenant-ID: " + otherTenant}},
		expectation{status: http.StatusForbidden, body: []string{"wrong_tenant"}},
	}, {
		"Call without a token, and with one that has a typo: 401",
		request{path: "/products", headers: credentials[1:]},
		expectation{status: http.StatusUnauthorized, challenge: []string{`Bearer realm="` + sampleHost + `"`}, noError: true},
	}, {
		"",
		request{path: "/products", headers: []string{"Authorization: Bearer ${TOKEN}0", credentials[1]}},
		expectation{status: http.StatusUnauthorized, challenge: []string{`error="invalid_token"`}},
	}} {
		if attempt.title != "" {
			d.say.step("%s", attempt.title)
		}
		want := attempt.want
		if p := guide.Proxies[d.proxyName]; want.status == http.StatusForbidden && !p.KeepsReasons {
			d.say.line("%s answers a 403 with a page of its own, without the verifier's reason", p.Title)
			want.challenge, want.body = nil, nil
		}
		if _, err := c.expect(ctx, attempt.request, want); err != nil {
			return err
		}
	}
	return nil
}
