package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

func newIdentify(s *invocation) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "identify",
		Short: "Say which key a token is of; the token is read from standard input",
		Long: `Say whether a token is one of NexusCommerce's, whether it is whole, which key it is of, and how that
is. The token is read from standard input, on a terminal without showing it, and never leaves this machine: keys are
compared by digest.

Several keys can have one token: whoever knows its digest can register it, which gives them nothing in another
tenant. All of them are listed. First comes the key that the controller minted the token for, if there is one.

It looks in all namespaces, or where you may not, in the one of -n.`,
		Example: `# A token that a secret scanner has found
kubectl apikey identify < leaked.token

# On a terminal, asks for it
echo "$TOKEN" | kubectl apikey identify -o name`,
		Args: argCount(0, 0, "no arguments, and never a token: it reads the token from standard input"),
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
func (s *invocation) readToken() (string, error) {
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
	// Prefix is set only for a whole token: of any other text, it is unknown which part is public.
	Prefix string `json:"prefix,omitempty"`
	Known  bool   `json:"known"`
	// Key and the next fields describe the key that the token stands for if no tenant is named. They are blank if several
	// tenants have registered it.
	Key        string `json:"key,omitempty"`
	Credential string `json:"credential,omitempty"`
	Newest     bool   `json:"newest,omitempty"`
	State      string `json:"state,omitempty"`
	// Works is set if the token works as any key's.
	Works   bool   `json:"works"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message"`
	// Claims are all keys that have the token.
	Claims []claim `json:"claims,omitempty"`
}

// claim is one key that has the token.
type claim struct {
	Key        string `json:"key"`
	Tenant     string `json:"tenant"`
	Credential string `json:"credential"`
	// Minted is set if the controller minted the token for this key. Other keys have registered it.
	Minted  bool   `json:"minted"`
	Newest  bool   `json:"newest"`
	State   string `json:"state"`
	Works   bool   `json:"works"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message"`
}

// identify finds the keys that have a token, and prints the result.
func (s *invocation) identify(ctx context.Context, text string, out *output) error {
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
	evaluator, where, err := s.evaluator(ctx, client, namespace)
	if err != nil {
		return err
	}
	identities, contested := evaluator.Identify(text, s.now())
	if len(identities) == 0 {
		found.Message = fmt.Sprintf(
			"It is unknown: no key in %s has it. It is of another cluster, of a key that was deleted, or was replaced and its "+
				"overlap is over; or nobody ever issued it.", where)
		return s.identified(nil, &found, out)
	}
	s.conclude(identities, contested, &found)
	return s.identified(identities, &found, out)
}

// conclude fills in the result for the keys that have a token.
func (s *invocation) conclude(identities []keys.Identity, contested bool, found *identification) {
	found.Known = true
	for i := range identities {
		found.Claims = append(found.Claims, s.claim(&identities[i]))
		found.Works = found.Works || identities[i].Works()
	}
	if contested {
		found.Reason = string(verify.ReasonTenantRequired)
		found.Message = "Several tenants have registered it: which key it is depends on the tenant that a request names."
		return
	}
	first := &found.Claims[0]
	found.Key, found.Credential, found.Newest, found.State = first.Key, first.Credential, first.Newest, first.State
	found.Reason, found.Message = first.Reason, first.Message
	if found.Works && !first.Works {
		found.Message += " Another tenant has registered it, and it works for that one."
	}
}

// claim returns what a token is as one key's.
func (s *invocation) claim(identity *keys.Identity) claim {
	row := keys.NewRow(identity.Key, s.now())
	c := claim{
		Key: row.Namespace + "/" + row.Name, Tenant: row.TenantID, Credential: identity.Credential, Minted: identity.Minted,
		Newest: identity.Newest, State: string(row.State), Works: identity.Works(),
		Reason: string(identity.Decision.Reason), Message: identity.Decision.Message(),
	}
	switch {
	case identity.Holder != "":
		c.Message = "It stands for " + identity.Holder + ", which had it first."
	case identity.Restricted:
		c.Message = "It works from some addresses only: " + join(identity.Key.Spec.AllowedCIDRs)
	case c.Works:
		c.Message = "It works."
	}
	return c
}

// describeForm says what is wrong with a text that is no token, without repeating any of it.
func describeForm(text string) string {
	if keys.FormOf(text) != keys.FormDamaged {
		return "it does not begin with nxc_live_ or nxc_test_, and its checksum is wrong."
	}
	if length := len(token.FormatLive) + 57; len(text) != length {
		return fmt.Sprintf(
			"it begins as ours do, and has %d characters, not %d: a part of it is missing, or too much was copied.", len(text),
			length)
	}
	return "it begins as ours do, and its checksum is wrong: it has a typo, or was made up."
}

// evaluator returns an Evaluator of all keys that the user may list, and says where those are.
func (s *invocation) evaluator(
	ctx context.Context, client *keys.Client, namespace string,
) (*keys.Evaluator, string, error) {
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
	return keys.NewEvaluator(all, tenants, nil), where, nil
}

// identified prints what was found. It is an error with exit code 3 unless the token works.
func (s *invocation) identified(identities []keys.Identity, found *identification, out *output) error {
	var err error
	switch {
	case !out.forPeople() && len(identities) > 0 && *out.flags.OutputFormat == "name":
		for i := range identities {
			err = errors.Join(err, out.print(s.Out, identities[i].Key))
		}
	case !out.forPeople() && *out.flags.OutputFormat != "name":
		object, convertErr := result("Identification", "", "", found)
		if convertErr != nil {
			return convertErr
		}
		err = out.print(s.Out, object)
	case !out.forPeople():
		s.say("%s", found.Message)
	default:
		err = s.describeIdentity(identities, found)
	}
	if err == nil && !found.Works {
		return &exitError{code: exitNo}
	}
	return err
}

// describeIdentity prints the result for people.
func (s *invocation) describeIdentity(identities []keys.Identity, found *identification) error {
	lines := [][]string{{"Result:", found.Message}}
	if found.Prefix != "" {
		whose := "yes, " + found.Prefix
		if found.Form == string(keys.FormOther) {
			whose = "only if a controller was told to mint tokens that begin as " + found.Prefix +
				" does; ours begin with nxc_live_ or nxc_test_"
		}
		lines = append(lines, []string{"Ours:", whose}, []string{"Checksum:", "right"})
	}
	if found.Key != "" {
		lines = append(lines, s.identityLines(&identities[0], found)...)
	}
	err := table(s.Out, lines...)
	if len(found.Claims) < 2 || err != nil {
		return err
	}
	fmt.Fprintln(s.Out, "Claims:")
	claims := [][]string{{"  KEY", "TENANT ID", "ORIGIN", "STATE", "RESULT"}}
	for i := range found.Claims {
		c := &found.Claims[i]
		origin := "registered"
		if c.Minted {
			origin = "minted"
		}
		claims = append(claims, []string{"  " + c.Key, c.Tenant, origin, c.State, c.Message})
	}
	return table(s.Out, claims...)
}

// identityLines describes the key that a token stands for.
func (s *invocation) identityLines(identity *keys.Identity, found *identification) [][]string {
	row := keys.NewRow(identity.Key, s.now())
	which := "the newest"
	if !found.Newest {
		which = "not the newest, until " + validUntil(identity)
	}
	return [][]string{
		{"Key:", found.Key + " (" + row.DisplayName + ")"},
		{"Credential:", found.Credential + ", " + which},
		{"State:", state(&row)},
		{"Scopes:", join(row.Scopes)},
		{"Expires:", expiry(&row)},
		{"Last used:", ago(row.LastUsed, s.now())},
	}
}

// validUntil returns when a superseded credential ends.
func validUntil(identity *keys.Identity) string {
	for i := range identity.Key.Status.Credentials {
		if c := &identity.Key.Status.Credentials[i]; c.ID == identity.Credential {
			return moment(c.ValidUntil)
		}
	}
	return none
}
