package accesspolicy

import (
	"fmt"
	"slices"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/controllers/internal/status"
	"github.com/nexuscommerce/apikey-operator/internal/access"
)

// named is how many conflicts a message names. The rest are counted.
const named = 5

// decide returns the outcome for a policy among all policies. It is pure.
func decide(policy *keysv1alpha1.AccessPolicy, policies []keysv1alpha1.AccessPolicy) *status.Outcome {
	if len(policy.Spec.Rules) > 0 && len(policy.Spec.Hosts) == 0 {
		return status.Stalled(keysv1alpha1.ReasonNoHosts,
			"No rule is ever in effect: spec.hosts is empty. Name the hosts that the rules are for.")
	}
	// Rules conflict within a host only.
	neighbours := slices.DeleteFunc(slices.Clone(policies), func(other keysv1alpha1.AccessPolicy) bool {
		return other.Name == policy.Name || !shareHost(&other, policy)
	})
	conflicts := slices.DeleteFunc(
		slices.Clone(access.Compile(append(neighbours, *policy)).Conflicts()),
		func(c access.Conflict) bool { return c.Policy != policy.Name })
	if len(conflicts) > 0 {
		return status.Stalled(keysv1alpha1.ReasonConflict, describe(conflicts))
	}
	return status.Ready(keysv1alpha1.ReasonApplied, "Every rule is in effect.")
}

// shareHost reports whether two policies name the same host, or the same wildcard.
func shareHost(a, b *keysv1alpha1.AccessPolicy) bool {
	return slices.ContainsFunc(a.Spec.Hosts, func(host keysv1alpha1.Host) bool {
		return slices.Contains(b.Spec.Hosts, host)
	})
}

// describe writes conflicts as text. A conflict for several methods or hosts is one sentence.
func describe(conflicts []access.Conflict) string {
	type rules struct {
		rule, wonByRule int
		wonBy           string
		pathType        keysv1alpha1.PathMatchType
		path            string
	}
	type places struct{ hosts, methods []string }
	var order []rules
	where := map[rules]*places{}
	for i := range conflicts {
		c := &conflicts[i]
		pair := rules{c.Rule, c.WonByRule, c.WonBy, c.Type, c.Path}
		if where[pair] == nil {
			where[pair] = &places{}
			order = append(order, pair)
		}
		at := where[pair]
		at.hosts = add(at.hosts, string(c.Host))
		if c.Method != "" {
			at.methods = add(at.methods, string(c.Method))
		}
	}
	var b strings.Builder
	for i, pair := range order {
		if i == named {
			fmt.Fprintf(&b, "and %d more; ", len(order)-named)
			break
		}
		at := where[pair]
		winner := fmt.Sprintf("spec.rules[%d] of the older policy %s", pair.wonByRule, pair.wonBy)
		if pair.wonBy == conflicts[0].Policy {
			winner = fmt.Sprintf("spec.rules[%d] of this policy", pair.wonByRule)
		}
		methods := "every method that no other rule names"
		if len(at.methods) > 0 {
			methods = strings.Join(at.methods, ", ")
		}
		fmt.Fprintf(&b, "spec.rules[%d] is not in effect for %s %s on %s, %s: %s decides; ",
			pair.rule, pair.pathType, pair.path, listed(at.hosts), methods, winner)
	}
	return strings.TrimSuffix(b.String(), "; ") + "."
}

func add(list []string, value string) []string {
	if slices.Contains(list, value) {
		return list
	}
	return append(list, value)
}

// listed names at most three of a list, and counts the rest.
func listed(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more hosts", strings.Join(names[:most], ", "), len(names)-most)
}
