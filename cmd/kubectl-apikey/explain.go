package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

func newExplain(s *invocation) *cobra.Command {
	var from, tenantID string
	cmd := &cobra.Command{
		Use:   "explain KEY METHOD URL",
		Short: "Say whether a key may do something, by which rule, and what is missing",
		Long: `Say what a verifier would answer to a request with a key, by which rule of which AccessPolicy, and
every check that refuses it. It asks no verifier: it decides by the verifiers' own code, from the objects as they are
now. A URL that is only a path is on the host of the tenant's API base URL.

Where the key or its tenant allows some addresses only, say with --from where the request comes from.`,
		Example: `kubectl apikey explain warehouse-integration GET https://your-nexuscommerce.com/api/inventory/7 -n warehouse
kubectl apikey explain storefront GET /api/products -n warehouse --from 203.0.113.7`,
		Args: argCount(3, 3, "three arguments, such as storefront GET https://your-nexuscommerce.com/api/products"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []string{
						http.MethodGet,
						http.MethodHead,
						http.MethodPost,
						http.MethodPut,
						http.MethodPatch,
						http.MethodDelete,
						http.MethodOptions,
					},
					cobra.ShellCompDirectiveNoFileComp
			}
			return s.completeKeys(1)(cmd, args, typed)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "The client's address; without, one that isn't known.")
	cmd.Flags().StringVar(&tenantID, "tenant-id", "", "What X-Tenant-ID says; without, the key's own tenant.")
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := out.check(); err != nil {
			return err
		}
		question := keys.Question{Method: args[1], TenantID: tenantID}
		if from != "" {
			var err error
			if question.From, err = netip.ParseAddr(from); err != nil || question.From.Zone() != "" {
				return usagef("--from: %q is no IPv4 or IPv6 address", from)
			}
		}
		if question.Method != strings.ToUpper(question.Method) {
			s.warn("methods are compared with their case: %s is not %s", question.Method, strings.ToUpper(question.Method))
		}
		host, target, err := split(args[2])
		if err != nil {
			return err
		}
		question.Host, question.Target = host, target
		return s.explain(cmd.Context(), args[0], question, out)
	}
	return cmd
}

// split returns the host of a URL, blank for a path alone, and its path and query as they are sent.
func split(text string) (host, target string, err error) {
	if strings.HasPrefix(text, "/") {
		return "", text, nil
	}
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host == "" || parsed.Scheme != "https" && parsed.Scheme != "http" {
		return "", "", usagef(
			"%q is no URL such as https://your-nexuscommerce.com/api/products, nor a path such as /api/products", text)
	}
	_, rest, _ := strings.Cut(text, "://")
	at := strings.IndexAny(rest, "/?#")
	if at < 0 {
		return parsed.Host, "/", nil
	}
	target, _, _ = strings.Cut(rest[at:], "#")
	if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	return parsed.Host, target, nil
}

// explain decides about a request with a key, and prints the explanation.
func (s *invocation) explain(ctx context.Context, name string, question keys.Question, out *output) error {
	client, namespace, err := s.begin()
	if err != nil {
		return err
	}
	key, err := client.Get(ctx, namespace, name)
	if err != nil {
		return err
	}
	tenants, err := client.Tenants(ctx)
	if err != nil {
		return err
	}
	policies, err := client.Policies(ctx)
	if err != nil {
		return err
	}
	if question.Host == "" {
		if question.Host = hostOf(key, tenants); question.Host == "" {
			return usagef("the key has no tenant yet, whose host the path could be on: give the whole URL")
		}
	}
	evaluator := keys.NewEvaluator(s.claimants(ctx, client, key), tenants, policies)
	explanations := evaluator.Explain(key, question, s.now())
	if len(explanations) == 0 {
		why := "no controller has issued it"
		if ready := apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionReady); ready != nil {
			why = ready.Reason + ": " + ready.Message
		}
		return &exitError{
			exitNo,
			fmt.Sprintf("refused: ApiKey %s/%s has no token that a verifier knows (%s)", key.Namespace, key.Name, why),
		}
	}
	return s.explained(key, &question, explanations, out)
}

// claimants returns the keys that could have the token. Only a token that was made elsewhere can be another key's too.
func (s *invocation) claimants(
	ctx context.Context, client *keys.Client, key *keysv1alpha1.ApiKey,
) []keysv1alpha1.ApiKey {
	if key.Spec.Digest == nil {
		return []keysv1alpha1.ApiKey{*key}
	}
	all, err := client.List(ctx, keys.Selection{})
	if err != nil {
		s.warn("whether an older key has the same digest is not known: %v", err)
		return []keysv1alpha1.ApiKey{*key}
	}
	return all
}

// hostOf returns the host of the API base URL of a key's tenant, blank if the key has no tenant yet.
func hostOf(key *keysv1alpha1.ApiKey, tenants []keysv1alpha1.Tenant) string {
	for i := range tenants {
		if strings.EqualFold(tenants[i].Spec.ID, key.Status.TenantID) {
			if base, err := url.Parse(tenants[i].Spec.APIBaseURL); err == nil {
				return base.Host
			}
		}
	}
	return ""
}

// explained prints explanations, one for each token. It is an error with exit code 3 unless the newest token may.
func (s *invocation) explained(
	key *keysv1alpha1.ApiKey, question *keys.Question, explanations []keys.Explanation, out *output,
) error {
	newest := &explanations[len(explanations)-1]
	if out.forPeople() {
		for i := range explanations {
			if err := s.describeExplanation(key, question, &explanations[i], len(explanations) > 1); err != nil {
				return err
			}
		}
	} else {
		object, err := result("Explanation", key.Namespace, key.Name, keys.Report(question, explanations))
		if err != nil {
			return err
		}
		if err := out.print(s.Out, object); err != nil {
			return err
		}
	}
	if newest.Decision.Outcome != verify.Allow {
		return &exitError{code: exitNo}
	}
	return nil
}

// describeExplanation prints an explanation for people.
func (s *invocation) describeExplanation(
	key *keysv1alpha1.ApiKey, question *keys.Question, e *keys.Explanation, several bool,
) error {
	decision := "allowed"
	if e.Decision.Outcome != verify.Allow {
		decision = fmt.Sprintf("refused (%d %s)", e.Decision.Status(), e.Decision.Reason)
	}
	which := key.Namespace + "/" + key.Name
	if several {
		which += ", credential " + e.Credential
	}
	lines := [][]string{
		{"Result:", decision + ". " + e.Decision.Message()},
		{"Key:", which},
		{"Request:", question.Method + " " + question.Host + question.Target},
		{"Rule:", rule(e)},
	}
	for _, step := range e.Steps {
		if step.Reason != "" {
			lines = append(lines, []string{"Missing:", keys.Missing(&step, key, question)})
		}
	}
	return table(s.Out, lines...)
}

// rule describes the rule that matches the request, and what it needs.
func rule(e *keys.Explanation) string {
	need := e.Need
	if need == nil {
		return "none: " + "no AccessPolicy has a rule for this host, path and method"
	}
	needs := "any key"
	switch {
	case need.Anonymous:
		needs = "no key"
	case len(need.Scopes) > 0 && len(need.AnyOf) > 0:
		needs = join(need.Scopes) + " and one of " + join(need.AnyOf)
	case len(need.Scopes) > 0:
		needs = join(need.Scopes)
	case len(need.AnyOf) > 0:
		needs = "one of " + join(need.AnyOf)
	}
	return fmt.Sprintf("AccessPolicy %s, spec.rules[%d]: needs %s", need.Policy, need.Rule, needs)
}
