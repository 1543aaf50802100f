package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

func newRotate(s *invocation) *cobra.Command {
	c := &change{invocation: s, verb: "rotate", done: "is to be rotated"}
	var w waiting
	request := s.now().UTC().Format(time.RFC3339Nano)
	c.skip = func(row *keys.Row) (why string, fault bool) {
		switch {
		case row.Digest:
			return "has a token that was made elsewhere: create another key with the new token's digest (kubectl apikey " +
				"create --local), and revoke this one when nobody uses it any more", true
		case row.State == keystate.StateExpired:
			return "", false
		case row.Ended():
			return "is " + string(row.State) + ": create another", true
		case row.Issued.IsZero():
			return "has no token yet: kubectl apikey describe says why", true
		}
		return "", false
	}
	c.warning = keys.CommandLine.OverlapWarning
	c.apply = func(ctx context.Context, client *keys.Client, key *keysv1alpha1.ApiKey, dry keys.DryRun) error {
		return client.Rotate(ctx, key, request, dry)
	}
	c.wait = func(ctx context.Context, client *keys.Client, changed []*keysv1alpha1.ApiKey) error {
		if !w.on {
			return nil
		}
		return c.await(ctx, client, &w, changed, keys.Rotated(request), func(key *keysv1alpha1.ApiKey, after time.Duration) {
			old := ""
			if first := key.Status.Credentials[0]; len(key.Status.Credentials) > 1 && first.ValidUntil != nil {
				old = fmt.Sprintf(" The old token works until %s: see that its consumers have read the Secret again by then.",
					moment(first.ValidUntil))
			}
			c.say("ApiKey %s/%s: %s is in Secret %s, after %s.%s", key.Namespace, key.Name, key.Status.Prefix,
				key.Status.SecretName, elapsed(after), old)
		})
	}
	cmd := c.command(&cobra.Command{
		Short: "Replace the tokens of keys",
		Long: `Replace the tokens of keys: the controller writes a new one to the Secret, and the old one works for
the overlap (spec.rotation.overlap; a day by default). An expired key is issued anew, which takes the right to create
keys.

A leaked token is not ended by a rotation: revoke the key, or see the runbook.`,
		Example: `kubectl apikey rotate warehouse-integration -n warehouse --wait
kubectl apikey rotate --all -n sandbox --dry-run`,
	})
	w.addFlags(cmd, "Wait until the new token is in the Secret.")
	return cmd
}
