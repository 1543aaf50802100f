package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

func newRevoke(s *invocation) *cobra.Command {
	c := &change{invocation: s, verb: "revoke", done: "revoked"}
	c.setState(keysv1alpha1.ApiKeyRevoked)
	var yes bool
	var w waiting
	c.skip = func(row *keys.Row) (why string, fault bool) {
		switch row.State {
		case keystate.StateRevoked:
			return "is revoked already, and no verifier accepts it", false
		case keystate.StateDeleting:
			return "is being deleted, and refused already", false
		}
		return "", false
	}
	c.confirm = func(rows []keys.Row) error { return c.ask(rows, "There is no way back. Revoke", yes) }
	c.wait = func(ctx context.Context, client *keys.Client, changed []*keysv1alpha1.ApiKey) error {
		if !w.on {
			return nil
		}
		err := c.await(
			ctx,
			client,
			&w,
			changed,
			keys.RevocationEffective,
			func(key *keysv1alpha1.ApiKey, after time.Duration) {
				effective := apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionRevocationEffective)
				c.say("ApiKey %s/%s: no verifier accepts it any more, seen after %s. %s", key.Namespace, key.Name, elapsed(after),
					effective.Message)
			},
		)
		if _, ok := errors.AsType[*keys.TimeoutError](err); ok {
			return fmt.Errorf(
				"%w. The revocation is committed, and verifiers refuse the key as they learn of it; but not every one has said "+
					"so, or no controller runs. "+
					"A verifier that is silent refuses everything once its --max-staleness has passed. See docs/revocation.md", err)
		}
		return err
	}
	cmd := c.command(&cobra.Command{
		Short: "End keys for good",
		Long: `End keys for good: they are refused from the next request on, with or without a controller, and their
Secrets go. It asks first, and names each key and when it was last used; --yes answers for scripts. --wait waits
until no verifier can accept the keys any more (the condition RevocationEffective), and says how long that took.`,
		Example: `# What a leak would take: see first, then end
kubectl apikey revoke --all -n warehouse --dry-run
kubectl apikey revoke storefront -n warehouse --wait --yes

# All keys of a tenant, or with a label, whatever namespace they are in
kubectl apikey revoke -A --field-selector status.tenantID=3714240b-2e06-4c35-8856-ccc1c096323e --dry-run=server
kubectl apikey revoke -A -l app=shop --yes`,
	})
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "Don't ask.")
	w.addFlags(cmd, "Wait until no verifier accepts the keys any more.")
	return cmd
}
