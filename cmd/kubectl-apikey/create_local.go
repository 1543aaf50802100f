package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// runLocal makes the token here. It is written to its file before the cluster learns of it: a digest whose token nobody
// has is useless.
func (c *create) runLocal(ctx context.Context, key *keysv1alpha1.ApiKey) error {
	format, err := c.localFormat(ctx)
	if err != nil {
		return err
	}
	made, err := keys.MakeToken(rand.Reader, format, key)
	if err != nil {
		return err
	}
	manifest := *c.out.flags.OutputFormat != ""
	if manifest || c.dry.client() {
		return c.writeLocal(key, made, manifest)
	}
	client, err := c.connect()
	if err != nil {
		return err
	}
	if c.dry.server() {
		return c.apply(ctx, client, key)
	}
	if c.tokenFile != "" {
		if err := writeNew(c.tokenFile, made.Reveal(), 0o600); err != nil {
			return err
		}
	}
	if err := c.apply(ctx, client, key); err != nil {
		return c.afterFailure(err, key, made)
	}
	if c.tokenFile == "" {
		c.say("The token, once; it is kept nowhere:")
		if err := c.reveal(made); err != nil {
			return err
		}
	} else {
		c.say("The token is in %s, and nowhere else.", c.tokenFile)
	}
	if c.wait.on {
		return c.await(ctx, client, key)
	}
	return nil
}

// afterFailure removes the token's file after the key was not created. If the key may be there all the same, nobody
// else has its token, so the file stays; where there is none, the token is printed.
func (c *create) afterFailure(failure error, key *keysv1alpha1.ApiKey, made token.Token) error {
	if !keys.MayBeDone(failure) {
		if c.tokenFile == "" {
			return failure
		}
		return errors.Join(failure, os.Remove(c.tokenFile))
	}
	where := "in " + c.tokenFile
	if c.tokenFile == "" {
		c.say("The token, once, in case the key was created; it is kept nowhere:")
		if err := c.reveal(made); err != nil {
			return errors.Join(failure, err)
		}
		where = "above"
	}
	return fmt.Errorf("whether ApiKey %[1]s/%[2]s was created is not known: %[3]w. The token is %[4]s; keep it until "+
		"kubectl get apikey -n %[1]s %[2]s says that there is no such key", key.Namespace, key.Name, failure, where)
}

// localFormat returns the format that a flag names, or that of the namespace's tenant.
func (c *create) localFormat(ctx context.Context) (token.Format, error) {
	if c.format != "" {
		if err := token.Format(c.format).Validate(); err != nil {
			return "", usagef("--format: %v", err)
		}
		return token.Format(c.format), nil
	}
	client, err := c.connect()
	if err != nil {
		return "", err
	}
	tenant, err := client.TenantFor(ctx, c.request.Namespace)
	if err != nil {
		return "", fmt.Errorf("finding out the format of tokens: %w; or name it: --format nxc_live_ (for tests: nxc_test_)",
			err)
	}
	return keys.FormatOf(tenant.Spec.Environment), nil
}

// writeLocal writes the manifest for Git, and the token to its destination. Nothing is registered. A dry run's token is
// discarded.
func (c *create) writeLocal(key *keysv1alpha1.ApiKey, made token.Token, manifest bool) error {
	if c.dry.client() && !manifest {
		return c.report(key, " (dry run)")
	}
	var text strings.Builder
	if err := c.out.print(&text, keys.Manifest(key)); err != nil {
		return err
	}
	if c.tokenFile != "" {
		if err := writeNew(c.tokenFile, made.Reveal(), 0o600); err != nil {
			return err
		}
	}
	if c.manifestFile != "" {
		if err := writeNew(c.manifestFile, text.String(), 0o644); err != nil {
			return err
		}
	} else {
		fmt.Fprint(c.Out, text.String())
	}
	c.say("Nothing is registered yet: apply the manifest, or commit it. It holds only the token's digest.")
	switch {
	case c.tokenFile != "":
		c.say("The token is in %s, and nowhere else.", c.tokenFile)
		return nil
	case c.dry.client():
		return nil
	case c.manifestFile == "":
		_, err := fmt.Fprintln(c.Out, "# the token, kept nowhere; never commit this line: "+made.Reveal())
		return err
	}
	return c.reveal(made)
}

// writeNew creates a file: nothing is overwritten, and nobody else has it open. If that fails, it leaves no file.
func writeNew(name, content string, mode os.FileMode) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode) //nolint:gosec // The user's own file.
	if err != nil {
		return fmt.Errorf("writing a new file: %w", err)
	}
	_, err = file.WriteString(content)
	if err = errors.Join(err, file.Chmod(mode), file.Close()); err != nil {
		return fmt.Errorf("writing a new file: %w", errors.Join(err, os.Remove(name)))
	}
	return nil
}
