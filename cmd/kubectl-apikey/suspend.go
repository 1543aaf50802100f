package main

import (
	"github.com/spf13/cobra"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

func newSuspend(s *invocation) *cobra.Command {
	c := &change{invocation: s, verb: "suspend", done: "suspended"}
	c.setState(keysv1alpha1.ApiKeySuspended)
	c.skip = func(row *keys.Row) (why string, fault bool) {
		switch {
		case row.Ended():
			return "is " + string(row.State) + ": it is refused already", true
		case row.State == keystate.StateSuspended:
			return "is suspended already", false
		}
		return "", false
	}
	return c.command(&cobra.Command{
		Short: "Have keys refused until they are resumed",
		Long:  `Have keys refused from the next request on, until they are resumed. Their tokens and Secrets stay.`,
		Example: `kubectl apikey suspend storefront -n warehouse

# All keys of a tenant, whatever namespace they are in
kubectl apikey suspend -A --field-selector status.tenantID=3714240b-2e06-4c35-8856-ccc1c096323e`,
	})
}
