package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
)

func newTenant(s *invocation) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tenant [NAME]",
		Short: "Show a tenant: ID, base URL, quota, what its keys may be",
		Long: `Show the tenant that the namespace belongs to, or the one of a name: what clients send and where, how
many keys are left, and what keys may be.`,
		Example: `kubectl apikey tenant -n warehouse
kubectl apikey tenant acme -o jsonpath='{.spec.id}'`,
		Args: argCount(0, 1, "the name of a Tenant, or nothing"),
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := out.check(); err != nil {
			return err
		}
		client, namespace, err := s.begin()
		if err != nil {
			return err
		}
		var tenant *keysv1alpha1.Tenant
		if len(args) > 0 {
			tenant, err = client.Tenant(cmd.Context(), args[0])
		} else {
			tenant, err = client.TenantFor(cmd.Context(), namespace)
		}
		if err != nil {
			return err
		}
		if !out.forPeople() {
			return out.print(s.Out, tenant)
		}
		return s.describeTenant(tenant)
	}
	return cmd
}

func (s *invocation) describeTenant(tenant *keysv1alpha1.Tenant) error {
	spec := &tenant.Spec
	active, most := keys.Quota(tenant)
	expiries := make([]string, len(spec.ExpiryOptions))
	for i, option := range spec.ExpiryOptions {
		expiries[i] = string(option)
	}
	lines := [][]string{
		{"Tenant:", cmp.Or(spec.DisplayName, tenant.Name) + " (" + tenant.Name + ")"},
		{"Tenant ID:", spec.ID},
		{"API base URL:", spec.APIBaseURL},
		{"Keys:", fmt.Sprintf("%d of %d", active, most)},
		{"Expiry options:", strings.Join(expiries, ", ")},
		{"Allowed scopes:", strings.ReplaceAll(join(spec.AllowedScopes), ",", ", ")},
		{"Allowed addresses:", cmp.Or(join(spec.AllowedCIDRs), anyAddress)},
		{"Environment:", string(spec.Environment)},
		{"State:", string(spec.State)},
	}
	if ready := apimeta.FindStatusCondition(tenant.Status.Conditions, keysv1alpha1.ConditionReady); ready != nil &&
		ready.Status != "True" {
		lines = append(lines, []string{"Not ready:", ready.Reason + ": " + ready.Message})
	}
	return table(s.Out, lines...)
}
