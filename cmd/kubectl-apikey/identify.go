package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

func newIdentify(s *session) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "identify",
		Short: "Say which key a token is of; the token is read from standard input",
		Long: `Say whether a token is one of NexusCommerce's, whether it is whole, which key it is of, and how that is. The token is read
from standard input, on a terminal without showing it, and never leaves this machine: keys are compared by digest.

It looks in all namespaces, or where you may not, in the one of -n.`,
		Example: `# A token that a secret scanner has found
kubectl apikey identify < leaked.token

# On a terminal, asks for it
echo "$TOKEN" | kubectl apikey identify -o name`,
		Args: args(0, 0, "no arguments, and never a token: it reads the token from standard input"),
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.check(); err != nil {
			return err
		}
		text, err := s.readToken()
		if err != nil {
			return err
		}
		return s.identify(cmd.Context(), text, out)
	}
	return cmd
}

// readToken reads a token from standard input: the first word, after a Bearer that may stand before it.
func (s *session) readToken() (string, error) {
	var text string
	var err error
	if s.terminal(s.In) {
		fmt.Fprint(s.ErrOut, "Token (not shown): ")
		text, err = s.password()
	} else {
		const most = 4 << 10
		var content []byte
		content, err = io.ReadAll(io.LimitReader(bufio.NewReader(s.In), most))
		text = string(content)
	}
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	words := strings.Fields(text)
	if len(words) > 1 && strings.EqualFold(words[0], "Bearer") {
		words = words[1:]
	}
	if len(words) != 1 {
		return "", usagef("standard input has %d words: give one token, and nothing else", len(words))
	}
	return words[0], nil
}

// identification is the result for programs.
type identification struct {
	Form string `json:"form"`
	// Prefix is told of a token that is whole; of any other, nobody can say what part of it is public.
	Prefix     string `json:"prefix,omitempty"`
	Known      bool   `json:"known"`
	Key        string `json:"key,omitempty"`
	Credential string `json:"credential,omitempty"`
	Newest     bool   `json:"newest,omitempty"`
	State      string `json:"state,omitempty"`
	Works      bool   `json:"works"`
	Reason     string `json:"reason,omitempty"`
	Message    string `json:"message"`
}

func (s *session) identify(ctx context.Context, text string, out *output) error {
	found := identification{Form: string(keys.FormOf(text))}
	parsed, err := token.Parse(text)
	if err != nil {
		found.Message = "It is no token of this kind: " + describeForm(text)
		return s.identified(nil, &found, out)
	}
	found.Prefix = parsed.Prefix()
	client, namespace, err := s.begin()
	if err != nil {
		return err
	}
	identity, where, err := s.search(ctx, client, namespace, text)
	if err != nil {
		return err
	}
	if identity == nil {
		found.Message = fmt.Sprintf("It is unknown: no key in %s has it. It is of another cluster, of a key that was deleted, or was replaced and its overlap is over; or nobody ever issued it.", where)
		return s.identified(nil, &found, out)
	}
	row := keys.NewRow(identity.Key, s.now())
	found.Known, found.Key, found.Credential, found.Newest = true, row.Namespace+"/"+row.Name, identity.Credential, identity.Newest
	found.State, found.Reason = string(row.State), string(identity.Decision.Reason)
	found.Works = identity.Decision.Outcome == verify.Allow || identity.Restricted
	found.Message = identity.Decision.Message()
	switch {
	case identity.Restricted:
		found.Message = "It works from some addresses only: " + join(identity.Key.Spec.AllowedCIDRs)
	case found.Works:
		found.Message = "It works."
	}
	return s.identified(identity, &found, out)
}

// describeForm says what is wrong with what is no token, without repeating any of it.
func describeForm(text string) string {
	if keys.FormOf(text) != keys.FormDamaged {
		return "it does not begin with nxc_live_ or nxc_test_, and its checksum is wrong."
	}
	if length := len(token.FormatLive) + 57; len(text) != length {
		return fmt.Sprintf("it begins as ours do, and has %d characters, not %d: a part of it is missing, or too much was copied.", len(text), length)
	}
	return "it begins as ours do, and its checksum is wrong: it has a typo, or was made up."
}

// search looks for the key of a token: by its prefix first, and then, for a token that is not a key's newest, in all.
func (s *session) search(ctx context.Context, client *keys.Client, namespace, text string) (*keys.Identity, string, error) {
	tenants, tenantsErr := client.Tenants(ctx)
	if tenantsErr != nil && !apierrors.IsForbidden(tenantsErr) {
		return nil, "", tenantsErr
	}
	scope, where := "", "any namespace"
	all, err := client.List(ctx, keys.Selection{})
	if apierrors.IsForbidden(err) {
		scope, where = namespace, "namespace "+namespace
		s.warn("you may not list the keys of all namespaces; looking in %s only", scope)
		all, err = client.List(ctx, keys.Selection{Namespace: scope})
	}
	if err != nil {
		return nil, "", err
	}
	if tenantsErr != nil {
		s.warn("you may not list tenants: whether the key's tenant is suspended, or limits addresses, is not known")
		tenants = keys.AssumedTenants(all)
	}
	return keys.NewJudge(all, tenants, nil).Identify(text, s.now()), where, nil
}

// identified prints what was found. It is an error with exit code 3 unless the token works.
func (s *session) identified(identity *keys.Identity, found *identification, out *output) error {
	var err error
	switch {
	case !out.forPeople() && identity != nil && *out.flags.OutputFormat == "name":
		err = out.print(s.Out, identity.Key)
	case !out.forPeople() && *out.flags.OutputFormat != "name":
		object, convertErr := result("Identification", "", "", found)
		if convertErr != nil {
			return convertErr
		}
		err = out.print(s.Out, object)
	case !out.forPeople():
		s.say("%s", found.Message)
	default:
		err = s.describeIdentity(identity, found)
	}
	if err == nil && !found.Works {
		return &exitError{code: exitNo}
	}
	return err
}

func (s *session) describeIdentity(identity *keys.Identity, found *identification) error {
	lines := [][]string{{"Result:", found.Message}}
	if found.Prefix != "" {
		whose := "yes, " + found.Prefix
		if found.Form == string(keys.FormOther) {
			whose = "only if a controller was told to mint tokens that begin as " + found.Prefix + " does; ours begin with nxc_live_ or nxc_test_"
		}
		lines = append(lines, []string{"Ours:", whose}, []string{"Checksum:", "right"})
	}
	if identity != nil {
		row := keys.NewRow(identity.Key, s.now())
		which := "the newest"
		if !found.Newest {
			which = "not the newest, until " + validUntil(identity)
		}
		lines = append(lines,
			[]string{"Key:", found.Key + " (" + row.DisplayName + ")"},
			[]string{"Credential:", found.Credential + ", " + which},
			[]string{"State:", state(&row)},
			[]string{"Scopes:", join(row.Scopes)},
			[]string{"Expires:", expiry(&row)},
			[]string{"Last used:", ago(row.LastUsed, s.now())})
	}
	return table(s.Out, lines...)
}

func validUntil(identity *keys.Identity) string {
	for i := range identity.Key.Status.Credentials {
		if c := &identity.Key.Status.Credentials[i]; c.ID == identity.Credential {
			return moment(c.ValidUntil)
		}
	}
	return none
}
