package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

func newDescribe(s *invocation) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "describe NAME",
		Short: "Show all about a key: grants, tokens, conditions and what to do, its Secret and who mounts it",
		Long: `Show all about a key: what it was granted beside what it asks for, its tokens by their public id, its
conditions with what to do about each, and who mounts its Secret. The Secret itself is not read.`,
		Example:           `kubectl apikey describe warehouse-integration -n warehouse`,
		Args:              argCount(1, 1, "one argument, the key's name"),
		ValidArgsFunction: s.completeKeys(1),
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
		key, err := client.Get(cmd.Context(), namespace, args[0])
		if err != nil {
			return err
		}
		if !out.forPeople() {
			return out.print(s.Out, key)
		}
		return s.describe(cmd.Context(), client, key)
	}
	return cmd
}

func (s *invocation) describe(ctx context.Context, client *keys.Client, key *keysv1alpha1.ApiKey) error {
	now := s.now()
	row := keys.NewRow(key, now)
	lines := [][]string{
		{"Name:", row.Name},
		{"Namespace:", row.Namespace},
		{"Display name:", row.DisplayName},
		{"State:", describeState(&row)},
		{"Prefix:", orNone(row.Prefix)},
		{"Tenant ID:", orNone(row.TenantID)},
		{"Created:", moment(&key.CreationTimestamp)},
		{"Issued:", moment(key.Status.IssuedTime)},
		{"Expires:", describeExpiry(&row, key)},
		{"Last used:", describeUse(key.Status.LastUsedTime, now)},
	}
	lines = append(lines, describeGrants(key)...)
	if next := key.Status.NextRotationTime; next != nil {
		lines = append(lines, []string{"Next rotation:", moment(next)})
	}
	if owner := keys.OwnerOf(key); owner != nil {
		lines = append(lines, []string{"Applied by:", owner.Tool + ", " + owner.Name})
	}
	if err := table(s.Out, lines...); err != nil {
		return err
	}
	if err := describeCredentials(s.Out, key, now); err != nil {
		return err
	}
	if err := describeConditions(s.Out, key); err != nil {
		return err
	}
	return s.describeSecret(ctx, client, key)
}

func describeState(row *keys.Row) string {
	if row.Reason == "" || row.Reason == string(row.State) {
		return string(row.State)
	}
	return fmt.Sprintf("%s (%s)", row.State, row.Reason)
}

func describeExpiry(row *keys.Row, key *keysv1alpha1.ApiKey) string {
	if row.Expires.IsZero() {
		return expiry(row)
	}
	return fmt.Sprintf("%s (%s after its issue)", row.Expires.UTC().Format(time.RFC3339), key.Spec.Expiry.OrNever())
}

func describeUse(t *metav1.Time, now time.Time) string {
	if t == nil {
		return never
	}
	used := keys.NotAfter(*t, now)
	return fmt.Sprintf("%s (%s)", moment(&used), ago(used.Time, now))
}

const anyAddress = "any"

// describeGrants returns what is granted, and what is asked for if that differs: a request must be within both.
func describeGrants(key *keysv1alpha1.ApiKey) [][]string {
	granted, asked := join(key.Status.Scopes), join(key.Spec.Scopes)
	lines := [][]string{{"Scopes granted:", orNone(granted)}}
	if granted != asked {
		lines = append(lines, []string{"Scopes asked for:", asked})
	}
	from, fromAsked := cmp.Or(join(key.Status.AllowedCIDRs), anyAddress), cmp.Or(join(key.Spec.AllowedCIDRs), anyAddress)
	lines = append(lines, []string{"Addresses:", from})
	if from != fromAsked {
		lines = append(lines, []string{"Addresses asked for:", fromAsked})
	}
	return lines
}

func describeCredentials(w io.Writer, key *keysv1alpha1.ApiKey, now time.Time) error {
	fmt.Fprintln(w, "\nCredentials:")
	if len(key.Status.Credentials) == 0 {
		fmt.Fprintln(w, "  none yet")
		return nil
	}
	lines := [][]string{{"  ID", "ISSUED", "PUBLISHED", "VALID UNTIL", "LAST USED", "DIGEST"}}
	for i := range key.Status.Credentials {
		c := &key.Status.Credentials[i]
		until := "the key's end"
		if c.ValidUntil != nil {
			until = moment(c.ValidUntil)
		}
		used := never
		ofIt := func(u keysv1alpha1.CredentialUsage) bool { return u.ID == c.ID }
		if at := slices.IndexFunc(key.Status.Usage, ofIt); at >= 0 {
			used = ago(key.Status.Usage[at].LastUsedTime.Time, now)
		}
		lines = append(lines, []string{"  " + c.ID, moment(&c.IssuedTime), moment(c.PublishedTime), until, used, c.Digest})
	}
	return table(w, lines...)
}

func describeConditions(w io.Writer, key *keysv1alpha1.ApiKey) error {
	fmt.Fprintln(w, "\nConditions:")
	if len(key.Status.Conditions) == 0 {
		fmt.Fprintln(w, "  none: no controller has seen the key. Is it running? kubectl get pods -A -l "+
			"app.kubernetes.io/name=apikey-controller")
		return nil
	}
	for i := range key.Status.Conditions {
		c := &key.Status.Conditions[i]
		fmt.Fprintf(w, "  %s %s (%s): %s\n", c.Type, c.Status, c.Reason, printable.Text(c.Message))
		if advice := keys.CommandLine.ConditionAdvice(c); advice != "" {
			fmt.Fprintf(w, "    To do: %s\n", advice)
		}
	}
	return nil
}

func (s *invocation) describeSecret(ctx context.Context, client *keys.Client, key *keysv1alpha1.ApiKey) error {
	fmt.Fprintln(s.Out, "\nSecret:")
	fmt.Fprintln(s.Out, "  "+printable.Text(keys.Where(key)))
	name := key.Status.SecretName
	if name == "" {
		return nil
	}
	consumers, failed := client.Consumers(ctx, key.Namespace, name)
	if len(consumers) == 0 {
		fmt.Fprintln(s.Out, "  mounted by nobody that can be seen")
	}
	for _, consumer := range consumers {
		restart := ""
		if consumer.Restart {
			restart = "; restart it after a rotation"
		}
		fmt.Fprintf(s.Out, "  mounted by %s %s: %s%s\n", consumer.Kind, printable.Text(consumer.Name),
			printable.Text(strings.Join(consumer.How, ", ")), restart)
	}
	if failed != nil {
		s.warn("not everything that may mount the Secret could be looked at: %v", failed)
	}
	return nil
}
