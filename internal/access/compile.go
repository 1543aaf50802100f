package access

import (
	"slices"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// Conflict is a rule that is overridden for one host, path and method, and the rule that overrides it.
type Conflict struct {
	// Policy is the name of the AccessPolicy whose rule is overridden.
	Policy string
	// Rule is the index of the rule in that policy's spec.rules.
	Rule int
	// Host is as the policy has it; a wildcard includes its asterisk.
	Host keysv1alpha1.Host
	// Type is how Path is matched.
	Type keysv1alpha1.PathMatchType
	// Path is as the policy has it.
	Path string
	// Method is blank for the rule without methods.
	Method keysv1alpha1.Method
	// WonBy is the name of the AccessPolicy whose rule is in effect. It is Policy if a policy contradicts itself.
	WonBy string
	// WonByRule is the index of the rule that is in effect in its policy's spec.rules.
	WonByRule int
}

// Compile returns a Matcher for the policies. Policies with a host in common are merged. If two rules are for the same
// host, path and method, that of the older policy is in effect (by creationTimestamp, then by name); within a policy,
// the one that names the method, then the first. So adding a policy never changes what an existing route needs, except
// by a more specific path. Changing the policies afterwards does not affect the Matcher.
func Compile(policies []keysv1alpha1.AccessPolicy) *Matcher {
	m := &Matcher{}
	for age, policy := range byAge(policies) {
		requirements := make([]*Requirement, len(policy.Spec.Rules))
		for i := range policy.Spec.Rules {
			rule := &policy.Spec.Rules[i]
			anonymous := rule.Anonymous != nil && *rule.Anonymous
			requirements[i] = newRequirement(rule.Scopes, rule.AnyOf, anonymous)
			requirements[i].Policy, requirements[i].Rule, requirements[i].age = policy.Name, i, age
		}
		for _, host := range policy.Spec.Hosts {
			root := m.grow(host)
			for i := range policy.Spec.Rules {
				m.add(root, host, &policy.Spec.Rules[i], requirements[i])
			}
		}
	}
	return m
}

// byAge returns the policies, oldest first.
func byAge(policies []keysv1alpha1.AccessPolicy) []*keysv1alpha1.AccessPolicy {
	sorted := make([]*keysv1alpha1.AccessPolicy, len(policies))
	for i := range policies {
		sorted[i] = &policies[i]
	}
	slices.SortStableFunc(sorted, func(a, b *keysv1alpha1.AccessPolicy) int {
		return keystate.CompareAge(a, b)
	})
	return sorted
}

// grow returns the paths of a host, and adds the host if it is missing.
func (m *Matcher) grow(host keysv1alpha1.Host) *node {
	hosts := &m.hosts
	name, wildcard := strings.CutPrefix(string(host), "*.")
	if wildcard {
		hosts = &m.wildcards
	}
	root, ok := hosts.get(name)
	if !ok {
		root = &node{}
		hosts.add(name, root)
	}
	return root
}

// add adds a rule to a host. A path of an unknown or blank type is a prefix, which is the schema's default.
func (m *Matcher) add(root *node, host keysv1alpha1.Host, rule *keysv1alpha1.AccessRule, requirement *Requirement) {
	m.anonymous = m.anonymous || requirement.Anonymous
	for _, path := range rule.Paths {
		exact := path.Type == keysv1alpha1.PathExact
		conflict := Conflict{
			Policy: requirement.Policy, Rule: requirement.Rule, Host: host, Type: keysv1alpha1.PathPrefix, Path: path.Value,
		}
		if exact {
			conflict.Type = keysv1alpha1.PathExact
		}
		rules := root.insert(path.Value, exact)
		if len(rule.Methods) == 0 {
			if winner := rules.others; winner == nil {
				rules.others = requirement
			} else {
				m.report(conflict, requirement, winner)
			}
		}
		for _, method := range rule.Methods {
			winner, _ := rules.named.get(string(method))
			if winner == nil && rules.others != nil && rules.others.age < requirement.age {
				winner = rules.others // An older policy's for every method is for this one too.
			}
			if winner == nil {
				rules.named.add(string(method), requirement)
			} else {
				conflict.Method = method
				m.report(conflict, requirement, winner)
			}
		}
	}
}

// report records a conflict, unless it is between equal paths of one rule.
func (m *Matcher) report(conflict Conflict, loser, winner *Requirement) {
	if loser == winner {
		return
	}
	conflict.WonBy, conflict.WonByRule = winner.Policy, winner.Rule
	m.conflicts = append(m.conflicts, conflict)
}
