package main

import (
	"github.com/spf13/cobra"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

func newResume(s *invocation) *cobra.Command {
	c := &change{invocation: s, verb: "resume", done: "resumed"}
	c.setState(keysv1alpha1.ApiKeyActive)
	c.skip = func(row *keys.Row) (why string, fault bool) {
		switch row.State {
		case keystate.StateSuspended:
			return "", false
		case keystate.StateRevoked, keystate.StateRevoking:
			return "is revoked, for good: create another", true
		case keystate.StateExpired:
			return "has expired: have it issued anew with kubectl apikey rotate, or create another", true
		}
		return "is not suspended", false
	}
	return c.command(&cobra.Command{
		Short: "Have suspended keys work again",
		Long: `Have suspended keys work again, with the tokens that they had. That takes the right to create keys in
the namespace.`,
		Example: `kubectl apikey suspend storefront -n warehouse
kubectl apikey resume storefront -n warehouse`,
	})
}
