package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nexuscommerce/apikey-operator/internal/keys"
)

func newScopes(s *invocation) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scopes [SCOPE...]",
		Short: "List the scopes that keys may have, and the routes that need each",
		Long: `List the scopes that AccessPolicies declare, what each is for, and the routes that need it. A path that
ends in … is for every path below it too. resource:* and * open whatever they cover.`,
		Example: `kubectl apikey scopes
kubectl apikey scopes products:read orders:write`,
		Args:              argCount(0, 64, "names of scopes, or nothing"),
		ValidArgsFunction: s.completeScopes,
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := out.check(); err != nil {
			return err
		}
		client, err := s.connect()
		if err != nil {
			return err
		}
		policies, err := client.Policies(cmd.Context())
		if err != nil {
			return err
		}
		all := keys.Catalogue(policies)
		for _, name := range args {
			if !slices.ContainsFunc(all, func(c keys.CatalogueScope) bool { return string(c.Name) == name }) {
				return &exitError{exitFailed, "no AccessPolicy declares the scope " + name + "; kubectl apikey scopes lists all"}
			}
		}
		if len(args) > 0 {
			all = slices.DeleteFunc(all, func(c keys.CatalogueScope) bool { return !slices.Contains(args, string(c.Name)) })
		}
		return s.scopes(all, out)
	}
	return cmd
}

func (s *invocation) scopes(all []keys.CatalogueScope, out *output) error {
	if !out.forPeople() {
		list := &unstructured.UnstructuredList{Items: []unstructured.Unstructured{}}
		list.SetAPIVersion(resultVersion)
		list.SetKind("ScopeList")
		for i := range all {
			item, err := result("Scope", "", string(all[i].Name), &all[i])
			if err != nil {
				return err
			}
			delete(item.Object, "name")
			list.Items = append(list.Items, *item)
		}
		return out.print(s.Out, list)
	}
	if len(all) == 0 {
		s.say("No AccessPolicy declares a scope.")
		return nil
	}
	lines := [][]string{{"SCOPE", "DESCRIPTION", "NEEDED BY"}}
	for i := range all {
		scope := &all[i]
		name, description := string(scope.Name), orNone(scope.Description)
		if len(scope.Routes) == 0 {
			needed := none
			if strings.HasSuffix(name, "*") {
				needed = "covers " + covers(name)
			}
			lines = append(lines, []string{name, description, needed})
		}
		for j := range scope.Routes {
			lines = append(lines, []string{name, description, scope.Routes[j].String()})
			name, description = "", ""
		}
	}
	return table(s.Out, lines...)
}

func covers(wildcard string) string {
	if wildcard == "*" {
		return "every scope"
	}
	return "every scope that begins with " + strings.TrimSuffix(wildcard, "*")
}
