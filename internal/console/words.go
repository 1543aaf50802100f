package console

import (
	"cmp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// headings are what a condition means, if it is True and if it is not.
var headings = map[string][2]string{
	keysv1alpha1.ConditionReady:     {"The key works", "The key does not work yet"},
	keysv1alpha1.ConditionAdmitted:  {"What it asks for is granted", "What it asks for is not granted"},
	keysv1alpha1.ConditionPublished: {"Its token is published", "Its token is not published"},
	keysv1alpha1.ConditionSuspended: {"Suspended: every request is refused", "Not suspended"},
	keysv1alpha1.ConditionRevoked:   {"Revoked for good", "Not revoked"},
	keysv1alpha1.ConditionRevocationEffective: {
		"No verifier accepts the key any more",
		"A verifier may still have to learn that the key is revoked",
	},
	keysv1alpha1.ConditionExpired:     {"Expired: every request is refused", "Not expired"},
	keysv1alpha1.ConditionReconciling: {"The controller is at work on it", "The controller has finished"},
	keysv1alpha1.ConditionStalled:     {"It needs a person", "It needs nobody"},
}

// conditionInfo is a condition in plain words.
type conditionInfo struct {
	Type    string `json:"type"`
	Reason  string `json:"reason"`
	Heading string `json:"heading"`
	Message string `json:"message"`
	// Advice is blank if there is nothing to do.
	Advice string `json:"advice,omitempty"`
	Since  string `json:"since"`
	// Tone is good, wait, bad, or blank for none of these.
	Tone string `json:"tone,omitempty"`
}

// firstOf is the order of conditions: the key's state first, and then the reasons for it.
var firstOf = []string{
	keysv1alpha1.ConditionReady,
	keysv1alpha1.ConditionStalled,
	keysv1alpha1.ConditionReconciling,
	keysv1alpha1.ConditionRevoked,
	keysv1alpha1.ConditionRevocationEffective,
	keysv1alpha1.ConditionSuspended,
	keysv1alpha1.ConditionExpired,
	keysv1alpha1.ConditionAdmitted,
	keysv1alpha1.ConditionPublished,
}

// newConditions returns the conditions of a key in plain words.
func newConditions(key *keysv1alpha1.ApiKey) []conditionInfo {
	all := make([]conditionInfo, len(key.Status.Conditions))
	for i := range key.Status.Conditions {
		all[i] = newCondition(&key.Status.Conditions[i])
	}
	slices.SortStableFunc(all, func(a, b conditionInfo) int {
		return cmp.Compare(slices.Index(firstOf, a.Type), slices.Index(firstOf, b.Type))
	})
	return all
}

func newCondition(c *metav1.Condition) conditionInfo {
	info := conditionInfo{
		Type: c.Type, Reason: c.Reason, Heading: c.Type + " is " + string(c.Status), Message: printable.Text(c.Message),
		Advice: keys.Page.ConditionAdvice(c), Since: stamp(c.LastTransitionTime.Time), Tone: tone(c),
	}
	if words, known := headings[c.Type]; known {
		info.Heading = words[1]
		if c.Status == metav1.ConditionTrue {
			info.Heading = words[0]
		}
	}
	if c.Reason == keysv1alpha1.ReasonExpiringSoon {
		info.Heading, info.Tone = "Expires soon", "wait"
	}
	return info
}

// tone returns how good or bad a condition is.
func tone(c *metav1.Condition) string {
	switch c.Type {
	case keysv1alpha1.ConditionReady, keysv1alpha1.ConditionAdmitted, keysv1alpha1.ConditionPublished,
		keysv1alpha1.ConditionRevocationEffective:
		switch c.Status {
		case metav1.ConditionTrue:
			return "good"
		case metav1.ConditionFalse:
			return falseTone(c.Reason)
		}
		return "wait"
	case keysv1alpha1.ConditionStalled:
		if c.Status == metav1.ConditionTrue {
			return "bad"
		}
	case keysv1alpha1.ConditionReconciling:
		return "wait"
	}
	return ""
}

// falseTone returns the tone of a condition that is False and should be True: none if that was asked for.
func falseTone(reason string) string {
	switch reason {
	case keysv1alpha1.ReasonRevoked, keysv1alpha1.ReasonSuspended, keysv1alpha1.ReasonExpired:
		return ""
	case keysv1alpha1.ReasonWaitingForVerifiers:
		return "wait"
	}
	return "bad"
}
