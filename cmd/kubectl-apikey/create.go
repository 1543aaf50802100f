package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// create has the flags of one run of the command.
type create struct {
	*invocation
	request keys.Request
	dry     dryRun
	out     *output
	wait    waiting

	show, yes, local        bool
	tokenFile, manifestFile string
	format                  string
}

func newCreate(s *invocation) *cobra.Command {
	c := &create{invocation: s}
	cmd := &cobra.Command{
		Use:   "create NAME --scopes SCOPE[,SCOPE...]",
		Short: "Make a key",
		Long: `Make an ApiKey. The controller mints its token into a Secret, which workloads mount: this command says
where that is. Repeating it changes nothing; a key of that name that asks for something else is left alone.

--show prints the token to standard output, once it is ready, and everything else beside it. It does so on a terminal
only, or with --yes.

--local makes the token here and registers only its digest: nothing secret enters the cluster. The token is printed
once, on a terminal or with --yes, or written to --token-file, a new file of mode 0600, and kept nowhere. With -o
yaml nothing is registered: the manifest for Git goes to standard output, or to --manifest-file. What goes where:

  --local                                      registers the key; the token to standard output
  --local --token-file F                       registers the key; the token to F
  --local -o yaml --token-file F               the manifest to standard output, the token to F
  --local -o yaml --manifest-file M            the manifest to M, the token to standard output
  --local -o yaml                              both to standard output, the token last, as a comment: for the eye only`,
		Example: `# A key that may read and write stock, for 90 days, from two networks, with a new token each month
kubectl apikey create stock-sync -n warehouse --display-name "Stock Sync" --scopes inventory:read,inventory:write \
    --expiry 90d --allow-cidr 203.0.113.0/24,2001:db8::/32 --rotate-every 30d --wait

# What would be made, and whether the API server would take it; nothing is
kubectl apikey create stock-sync -n warehouse --scopes inventory:read --dry-run=client -o yaml
kubectl apikey create stock-check -n warehouse --scopes inventory:read --dry-run=server -o yaml

# The token, once, into another program and never into the shell's history
kubectl apikey create price-feed -n warehouse --scopes pricing:read --show --yes > price-feed.token

# A token that never enters the cluster, and the manifest for Git
kubectl apikey create supplier-feed -n warehouse --scopes products:read --local -o yaml \
    --token-file supplier-feed.token > supplier-feed.yaml`,
		Args: argCount(1, 1, "one argument, the key's name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.request.Name = args[0]
			return c.run(cmd.Context())
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.addFlags(cmd)
	return cmd
}

func (c *create) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.request.DisplayName, "display-name", "", "A name for people, such as \"Warehouse Integration\".")
	f.StringSliceVar(&c.request.Scopes, "scopes", nil,
		"What the key may do, such as products:read,orders:write; kubectl apikey scopes lists them.")
	f.StringVar(&c.request.Expiry, "expiry", "",
		"How long the key works: one of what the tenant offers, such as 90d; Never without.")
	f.StringSliceVar(&c.request.AllowedCIDRs, "allow-cidr", nil,
		"Blocks of addresses that requests may come from, such as 203.0.113.0/24; any without.")
	f.StringVar(&c.request.RotateEvery, "rotate-every", "", "How long a token is used before it is replaced, such as 30d.")
	f.StringVar(&c.request.RotateOverlap, "rotate-overlap", "",
		"How long the old token works beside the new one; a day, or half of --rotate-every, without.")
	f.StringVar(&c.request.Secret, "secret-name", "", "The Secret for the token; of the key's name without.")
	f.BoolVar(&c.show, "show", false, "Print the token once it is ready. On a terminal only, or with --yes.")
	f.BoolVarP(&c.yes, "yes", "y", false, "Print the token although nobody may be watching.")
	f.BoolVar(&c.local, "local", false, "Make the token here, and register only its digest.")
	f.StringVar(&c.tokenFile, "token-file", "", "With --local: write the token to this new file, of mode 0600.")
	f.StringVar(&c.manifestFile, "manifest-file", "", "With --local -o yaml: write the manifest to this new file.")
	f.StringVar(&c.format, "format", "",
		"With --local: the token's format; that of the tenant's environment (nxc_live_ or nxc_test_) without.")
	c.wait.addFlags(cmd, "Wait until the key works.")
	c.dry.addFlag(cmd)
	c.out = addOutput(cmd)
	_ = cmd.RegisterFlagCompletionFunc("scopes", c.completeScopes)
	_ = cmd.RegisterFlagCompletionFunc("expiry", c.completeExpiries)
	for _, name := range []string{"display-name", "allow-cidr", "rotate-every", "rotate-overlap", "secret-name"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// check returns what is wrong with the command line, before anything is sent.
func (c *create) check() error {
	for _, m := range slices.Concat(c.always(), c.showing(), c.making()) {
		if m.broken {
			return usagef("%s", m.what)
		}
	}
	return c.out.check()
}

// misuse is a rule for command lines, and whether this one breaks it.
type misuse struct {
	broken bool
	what   string
}

// always returns the rules of every run.
func (c *create) always() []misuse {
	blank := slices.ContainsFunc(c.request.Scopes, func(s string) bool { return strings.TrimSpace(s) == "" })
	return []misuse{
		{len(c.request.Scopes) == 0, "say what the key may do, with --scopes; kubectl apikey scopes lists them"},
		{blank, "--scopes: there is a blank one"},
		{
			c.printsToken() && !c.yes && !c.terminal(c.Out),
			"standard output is no terminal, and would get the token: add --yes if that is meant" + c.elsewhere(),
		},
	}
}

// showing are the rules of --show.
func (c *create) showing() []misuse {
	if !c.show {
		return nil
	}
	return []misuse{
		{c.local, "--local prints the token by itself: leave --show out"},
		{c.dry.on(), "with --dry-run there is no token to --show"},
		{!c.out.forPeople(), "--show prints the token to standard output, and -o the object: choose one"},
		{c.showsBodies(), "with -v=8 or more the log would show the Secret, and so the token: leave -v or --show out"},
	}
}

// making are the rules of --local.
func (c *create) making() []misuse {
	if !c.local {
		return []misuse{
			{
				c.tokenFile != "" || c.manifestFile != "" || c.format != "",
				"--token-file, --manifest-file and --format are for --local",
			},
		}
	}
	format := *c.out.flags.OutputFormat
	minted := c.request.RotateEvery != "" || c.request.RotateOverlap != "" || c.request.Secret != ""
	return []misuse{
		{minted, "a token that is made here is not known in the cluster, so there is no rotation and no Secret: " +
			"leave --rotate-every, --rotate-overlap and --secret-name out"},
		{!slices.Contains([]string{"", "yaml", "json"}, format), "--local writes its manifest with -o yaml or -o json"},
		{c.manifestFile != "" && format == "", "--manifest-file is for --local -o yaml"},
	}
}

// printsToken reports whether the token goes to standard output.
func (c *create) printsToken() bool {
	return c.show || c.local && c.tokenFile == "" && !c.dry.on()
}

// elsewhere names the alternative to printing the token.
func (c *create) elsewhere() string {
	if c.local {
		return ", or have it written to a new file with --token-file"
	}
	return ""
}

// run creates the key.
func (c *create) run(ctx context.Context) (err error) {
	if c.request.Namespace, err = c.namespace(); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	key := c.request.Key()
	if c.local {
		return c.runLocal(ctx, key)
	}
	if c.dry.client() {
		return c.report(key, " (dry run)")
	}
	client, err := c.connect()
	if err != nil {
		return err
	}
	if err := c.apply(ctx, client, key); err != nil || c.dry.server() {
		return err
	}
	if !c.wait.on && !c.show {
		return c.finish(key)
	}
	if err := c.await(ctx, client, key); err != nil {
		return err
	}
	if !c.show {
		return c.finish(key)
	}
	made, err := client.Token(ctx, key)
	if err != nil {
		return fmt.Errorf("the key works, and its token can't be read: %w. %s", err, keys.Where(key))
	}
	c.say("%s", keys.Where(key))
	return c.reveal(made)
}

// apply creates the key, and reports that.
func (c *create) apply(ctx context.Context, client *keys.Client, key *keysv1alpha1.ApiKey) error {
	existed, err := client.Create(ctx, key, keys.DryRun(c.dry.server()))
	if exists, ok := errors.AsType[*keys.ExistsError](err); ok {
		row := keys.NewRow(exists.Key, c.now())
		return fmt.Errorf(
			"%w: %s, made %s, scopes %s, %s. Choose another name, or change it with kubectl edit apikey -n %s %s", err,
			printable.Text(row.DisplayName), ago(row.Created, c.now()), join(row.Scopes), state(&row), row.Namespace, row.Name)
	}
	if err != nil {
		return err
	}
	switch {
	case c.dry.server():
		return c.report(key, " (server dry run)")
	case existed:
		c.say("ApiKey %s/%s is there already, and asks for the same.", key.Namespace, key.Name)
	default:
		c.say("ApiKey %s/%s created.", key.Namespace, key.Name)
	}
	return nil
}

// await waits until the key works, and prints what it waits for.
func (c *create) await(ctx context.Context, client *keys.Client, key *keysv1alpha1.ApiKey) error {
	ctx, cancel := c.wait.context(ctx)
	defer cancel()
	began, last := c.now(), ""
	err := client.Await(ctx, []*keysv1alpha1.ApiKey{key}, keys.Ready, func(seen *keysv1alpha1.ApiKey, done bool) {
		seen.DeepCopyInto(key)
		if done {
			c.say("Ready after %s.", elapsed(c.now().Sub(began)))
			return
		}
		ready := apimeta.FindStatusCondition(seen.Status.Conditions, keysv1alpha1.ConditionReady)
		if ready != nil && ready.Status == metav1.ConditionUnknown && ready.Reason != last {
			last = ready.Reason
			c.say("%s: %s", ready.Reason, ready.Message)
		}
	})
	if _, stuck := errors.AsType[*keys.StuckError](err); stuck {
		return fmt.Errorf("%w The ApiKey stays, and works once that is fixed; kubectl delete apikey -n %s %s takes it back",
			err, key.Namespace, key.Name)
	}
	return err
}

// elapsed formats how long something took, for people.
func elapsed(d time.Duration) string { return d.Round(time.Millisecond).String() }

// finish prints the result: the object with -o, or where the token is.
func (c *create) finish(key *keysv1alpha1.ApiKey) error {
	if !c.out.forPeople() {
		return c.out.print(c.Out, key)
	}
	fmt.Fprintln(c.Out, printable.Text(keys.Where(key)))
	return nil
}

// report prints what a dry run would have made.
func (c *create) report(key *keysv1alpha1.ApiKey, how string) error {
	if !c.out.forPeople() {
		return c.out.print(c.Out, key)
	}
	fmt.Fprintf(c.Out, "apikey.%s/%s created%s\n", keysv1alpha1.GroupName, key.Name, how)
	return nil
}

// reveal prints a token to standard output. It, and runLocal, are the only places that do.
func (c *create) reveal(made token.Token) error {
	_, err := fmt.Fprintln(c.Out, made.Reveal())
	return err
}
