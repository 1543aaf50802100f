package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// change is what rotate, suspend, resume and revoke have in common.
type change struct {
	*invocation
	// verb and done name the change before and after it is made.
	verb, done string
	which      selection
	all        bool
	dry        dryRun
	out        *output
	// skip returns why a key is left alone, blank if it isn't. It is a fault if the key can't reach the state that is
	// asked for.
	skip func(row *keys.Row) (why string, fault bool)
	// warning, if not nil, returns what to know before a key is changed.
	warning func(key *keysv1alpha1.ApiKey) string
	// confirm, if not nil, asks before anything is done.
	confirm func(rows []keys.Row) error
	// apply requests the change.
	apply func(ctx context.Context, client *keys.Client, key *keysv1alpha1.ApiKey, dry keys.DryRun) error
	// wait, if not nil, waits for the result.
	wait func(ctx context.Context, client *keys.Client, changed []*keysv1alpha1.ApiKey) error
}

// command completes a command so that it makes the change.
func (c *change) command(cmd *cobra.Command) *cobra.Command {
	cmd.Use = c.verb + " [NAME...]"
	cmd.Args = argCount(0, 500, "names of keys")
	cmd.ValidArgsFunction = c.completeKeys(500)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args) }
	c.which.addFlags(cmd)
	cmd.Flags().BoolVar(&c.all, "all", false, "All keys of the namespace, or with -A of all namespaces.")
	c.dry.addFlag(cmd)
	c.out = addOutput(cmd)
	return cmd
}

// run makes the change.
func (c *change) run(ctx context.Context, names []string) error {
	selects := c.all || c.which.labels != "" || c.which.fields != ""
	switch {
	case len(names) > 0 && (selects || c.which.everywhere):
		return usagef("name keys, or choose them with -l, --field-selector or --all: not both")
	case len(names) == 0 && !selects:
		return usagef("name the keys to %s, or choose them with -l, --field-selector or --all", c.verb)
	}
	if err := c.out.check(); err != nil {
		return err
	}
	client, namespace, err := c.begin()
	if err != nil {
		return err
	}
	chosen, err := c.choose(ctx, client, namespace, names)
	if err != nil {
		return err
	}
	if len(chosen) == 0 {
		if selects {
			c.say("No keys to %s.", c.verb)
		}
		return nil
	}
	return c.to(ctx, client, chosen)
}

// choose reads the selected keys, without those that are left alone. A named key that can't reach the state is an
// error, before anything is done; a selected one is left out.
func (c *change) choose(
	ctx context.Context, client *keys.Client, namespace string, names []string,
) ([]*keysv1alpha1.ApiKey, error) {
	var chosen []*keysv1alpha1.ApiKey
	if len(names) == 0 {
		all, err := c.which.read(ctx, client, namespace)
		if err != nil {
			return nil, err
		}
		for i := range all {
			row := keys.NewRow(&all[i], c.now())
			if why, _ := c.skip(&row); why == "" {
				chosen = append(chosen, &all[i])
			}
		}
		return chosen, nil
	}
	for _, name := range names {
		key, err := client.Get(ctx, namespace, name)
		if err != nil {
			return nil, err
		}
		row := keys.NewRow(key, c.now())
		why, fault := c.skip(&row)
		if fault {
			return nil, &exitError{exitFailed, fmt.Sprintf("ApiKey %s/%s %s", row.Namespace, row.Name, why)}
		}
		if why != "" {
			c.say("ApiKey %s/%s %s", row.Namespace, row.Name, why)
			continue
		}
		chosen = append(chosen, key)
	}
	return chosen, nil
}

// prepare prints the warnings, and asks whether to go on.
func (c *change) prepare(chosen []*keysv1alpha1.ApiKey) error {
	for _, key := range chosen {
		if c.warning != nil {
			if warning := c.warning(key); warning != "" {
				c.warn("%s", warning)
			}
		}
	}
	if c.confirm == nil || c.dry.on() {
		return nil
	}
	rows := make([]keys.Row, len(chosen))
	for i := range chosen {
		rows[i] = keys.NewRow(chosen[i], c.now())
	}
	return c.confirm(rows)
}

// to changes the chosen keys.
func (c *change) to(ctx context.Context, client *keys.Client, chosen []*keysv1alpha1.ApiKey) error {
	if err := c.prepare(chosen); err != nil {
		return err
	}
	var changed []*keysv1alpha1.ApiKey
	var failed error
	for _, key := range chosen {
		if !c.dry.client() {
			if err := c.apply(ctx, client, key, keys.DryRun(c.dry.server())); err != nil {
				failed = errors.Join(failed, fmt.Errorf("ApiKey %s/%s: %w", key.Namespace, key.Name, err))
				continue
			}
		}
		changed = append(changed, key)
		if c.out.forPeople() {
			fmt.Fprintf(c.Out, "ApiKey %s/%s %s%s\n", key.Namespace, key.Name, c.done, c.dry.suffix())
		}
	}
	if c.wait != nil && len(changed) > 0 && !c.dry.on() {
		failed = errors.Join(failed, c.wait(ctx, client, changed))
	}
	return errors.Join(failed, c.print(changed))
}

// print writes the changed keys in the format of -o.
func (c *change) print(changed []*keysv1alpha1.ApiKey) error {
	switch {
	case c.out.forPeople():
		return nil
	case len(changed) == 1:
		return c.out.print(c.Out, changed[0])
	}
	all := make([]keysv1alpha1.ApiKey, len(changed))
	for i := range changed {
		all[i] = *changed[i]
	}
	return c.out.printKeys(c.Out, all)
}

// ask prints the keys with their last use, and asks whether to go on.
func (c *change) ask(rows []keys.Row, what string, yes bool) error {
	if yes {
		return nil
	}
	now := c.now()
	const most = 20
	var text strings.Builder
	for i := range rows[:min(len(rows), most)] {
		row := &rows[i]
		fmt.Fprintf(&text, "  %s/%s (%s, %s): last used %s\n", row.Namespace, row.Name, printable.Text(row.DisplayName),
			orNone(row.Prefix), ago(row.LastUsed, now))
	}
	if more := len(rows) - most; more > 0 {
		fmt.Fprintf(&text, "  and %d more\n", more)
	}
	fmt.Fprint(c.ErrOut, printableLines(text.String()))
	if len(rows) == 1 {
		return c.invocation.confirm(what+" this key?", yes)
	}
	return c.invocation.confirm(fmt.Sprintf("%s these %d keys?", what, len(rows)), yes)
}

// setState makes the change set a state, with a warning if a tool may undo that.
func (c *change) setState(to keysv1alpha1.ApiKeyState) {
	c.warning = func(key *keysv1alpha1.ApiKey) string {
		if owner := keys.OwnerOf(key); owner != nil {
			return owner.Warning(key, to)
		}
		return ""
	}
	c.apply = func(ctx context.Context, client *keys.Client, key *keysv1alpha1.ApiKey, dry keys.DryRun) error {
		return client.SetState(ctx, key, to, dry)
	}
}

// await waits until the changed keys have reached a goal, and updates them. It calls reached for each.
func (c *change) await(
	ctx context.Context,
	client *keys.Client,
	w *waiting,
	changed []*keysv1alpha1.ApiKey,
	goal keys.Goal,
	reached func(key *keysv1alpha1.ApiKey, after time.Duration),
) error {
	ctx, cancel := w.context(ctx)
	defer cancel()
	began := c.now()
	return client.Await(ctx, changed, goal, func(seen *keysv1alpha1.ApiKey, done bool) {
		for _, key := range changed {
			if key.UID == seen.UID {
				seen.DeepCopyInto(key)
			}
		}
		if done {
			reached(seen, c.now().Sub(began))
		}
	})
}

// suffix returns what the results of a dry run end with.
func (f *dryRun) suffix() string {
	switch {
	case f.client():
		return " (dry run)"
	case f.server():
		return " (server dry run)"
	}
	return ""
}
