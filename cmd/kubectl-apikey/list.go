package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
)

// selection has the flags that select keys.
type selection struct {
	labels, fields string
	everywhere     bool
}

func (f *selection) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.labels, "selector", "l", "", "Keys with these labels, such as app=shop.")
	cmd.Flags().StringVar(&f.fields, "field-selector", "",
		"Keys with these fields: spec.state, status.prefix, status.tenantID, metadata.name, metadata.namespace.")
	cmd.Flags().BoolVarP(&f.everywhere, "all-namespaces", "A", false, "Keys of all namespaces.")
}

// read returns the selected keys, in the given namespace unless all namespaces are selected.
func (f *selection) read(ctx context.Context, client *keys.Client, namespace string) ([]keysv1alpha1.ApiKey, error) {
	wanted := keys.Selection{Namespace: namespace}
	if f.everywhere {
		wanted.Namespace = ""
	}
	var err error
	if wanted.Labels, err = labels.Parse(f.labels); err != nil {
		return nil, usagef("--selector: %v", err)
	}
	if wanted.Fields, err = fields.ParseSelector(f.fields); err != nil {
		return nil, usagef("--field-selector: %v", err)
	}
	return client.List(ctx, wanted)
}

func newList(s *invocation) *cobra.Command {
	var which selection
	var expiring, unused string
	var filter keys.Filter
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List keys: scopes, last use, expiry, state",
		Long: `List keys, as the page Settings > API Keys does: name, prefix, scopes, created, last used, expires, state.

States: Active; Expiring (works, its end is near); Waiting (the controller has not finished); Failed (needs a person,
the reason says why; a key that was issued may still work); Suspended; Revoking (refused, while a verifier may not
have learned it); Revoked (no verifier accepts it); Expired; Deleting.`,
		Example: `# The keys of a namespace, and of all
kubectl apikey list -n warehouse
kubectl apikey list -A

# What needs attention: keys that end soon, and keys that nobody uses
kubectl apikey list -A --expiring-within 14d
kubectl apikey list -A --unused-for 90d

# For scripts
kubectl apikey list -A -o name
kubectl apikey list -n warehouse -o jsonpath='{range .items[*]}{.status.prefix}{"\n"}{end}'`,
		Args: argCount(0, 0, "no arguments"),
	}
	which.addFlags(cmd)
	cmd.Flags().StringVar(&expiring, "expiring-within", "",
		"Only keys that work and will have expired by then, such as 14d.")
	cmd.Flags().StringVar(&unused, "unused-for", "",
		"Only keys that work or wait, and that nobody has used for so long, such as 90d; never used counts from the issue.")
	cmd.Flags().StringVar((*string)(&filter.State), "state", "", "Only keys in this state, such as Active.")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(keys.States(), cobra.ShellCompDirectiveNoFileComp))
	out := addOutput(cmd, "wide")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if filter.ExpiringWithin, err = period("expiring-within", expiring); err != nil {
			return err
		}
		if filter.UnusedFor, err = period("unused-for", unused); err != nil {
			return err
		}
		if err := out.check(); err != nil {
			return err
		}
		client, namespace, err := s.begin()
		if err != nil {
			return err
		}
		all, err := which.read(cmd.Context(), client, namespace)
		if err != nil {
			return err
		}
		return s.list(all, filter, out, which.everywhere, namespace)
	}
	return cmd
}

// period parses a flag's length of time; blank is none.
func period(name, value string) (time.Duration, error) {
	if value == "" {
		return 0, nil
	}
	length, ok := keysv1alpha1.Period(value).Duration()
	if !ok {
		return 0, usagef("--%s: %q is not a number with the unit s, h, d or w, such as 14d", name, value)
	}
	return length, nil
}

// list prints the keys that a filter selects.
func (s *invocation) list(
	all []keysv1alpha1.ApiKey, filter keys.Filter, out *output, everywhere bool, namespace string,
) error {
	now := s.now()
	var rows []keys.Row
	var wanted []keysv1alpha1.ApiKey
	for i := range all {
		if row := keys.NewRow(&all[i], now); filter.Wants(&row, now) {
			rows, wanted = append(rows, row), append(wanted, all[i])
		}
	}
	if !out.forPeople() {
		return out.printKeys(s.Out, wanted)
	}
	if len(rows) == 0 {
		switch {
		case len(all) > 0:
			s.say("None of %d keys.", len(all))
		case everywhere:
			s.say("No keys found.")
		default:
			s.say("No keys found in namespace %s; -A lists those of all.", namespace)
		}
		return nil
	}
	return s.rows(rows, everywhere, out.is("wide"))
}

// rows prints a table of keys.
func (s *invocation) rows(rows []keys.Row, everywhere, wide bool) error {
	now := s.now()
	heading := []string{"NAME", "PREFIX", "SCOPES", "CREATED", "LAST USED", "EXPIRES", "STATE"}
	if everywhere {
		heading = append([]string{"NAMESPACE"}, heading...)
	}
	if wide {
		heading = append(heading, "DISPLAY NAME", "TENANT", "SECRET")
	}
	lines := [][]string{heading}
	for i := range rows {
		row := &rows[i]
		cells := []string{
			row.Name, orNone(row.Prefix), join(row.Scopes), date(row.Created), ago(row.LastUsed, now), expiry(row), state(row),
		}
		if everywhere {
			cells = append([]string{row.Namespace}, cells...)
		}
		if wide {
			cells = append(cells, row.DisplayName, orNone(row.TenantID), orNone(row.Secret))
		}
		lines = append(lines, cells)
	}
	return table(s.Out, lines...)
}
