package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// completeKeys completes the names of keys, with their display names.
func (s *invocation) completeKeys(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		client, namespace, err := s.begin()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		all, err := client.List(cmd.Context(), keys.Selection{Namespace: namespace})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for i := range all {
			if row := keys.NewRow(&all[i], s.now()); !slices.Contains(args, row.Name) {
				names = append(names, cobra.CompletionWithDesc(row.Name, printable.Text(row.DisplayName)+", "+state(&row)))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeScopes completes the last of a list of scopes, with their descriptions.
func (s *invocation) completeScopes(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	client, err := s.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	policies, err := client.Policies(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	before := ""
	if at := strings.LastIndexByte(typed, ','); at >= 0 {
		before = typed[:at+1]
	}
	var all []string
	for _, scope := range keys.Catalogue(policies) {
		if !slices.Contains(strings.Split(before, ","), string(scope.Name)) {
			all = append(all, cobra.CompletionWithDesc(before+string(scope.Name), printable.Text(scope.Description)))
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// completeExpiries completes the expiry options of the namespace's tenant.
func (s *invocation) completeExpiries(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	client, namespace, err := s.begin()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	tenant, err := client.TenantFor(cmd.Context(), namespace)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return strings.Split(join(tenant.Spec.ExpiryOptions), ","), cobra.ShellCompDirectiveNoFileComp
}

// completeNamespaces completes the namespaces that have keys.
func (s *invocation) completeNamespaces(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	client, err := s.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	all, err := client.List(cmd.Context(), keys.Selection{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for i := range all {
		names = append(names, all[i].Namespace)
	}
	return slices.Compact(slices.Sorted(slices.Values(names))), cobra.ShellCompDirectiveNoFileComp
}
