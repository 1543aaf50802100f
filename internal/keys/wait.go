package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// Goal reports whether a key is in the state that is waited for, or why it never will be.
type Goal func(*keysv1alpha1.ApiKey) (reached bool, err error)

// StuckError reports that a key won't reach its goal until somebody fixes something.
type StuckError struct {
	Key, Reason, Message string
}

// Error implements error.
func (e *StuckError) Error() string {
	return fmt.Sprintf("ApiKey %s: %s: %s", e.Key, e.Reason, e.Message)
}

// Ready is the goal of a key that is to work.
func Ready(key *keysv1alpha1.ApiKey) (bool, error) {
	if !keystate.Observed(key) {
		return false, nil
	}
	outcome := keystate.Outcome(key.Status.Conditions)
	if outcome == nil {
		return false, nil
	}
	if outcome.Type != keysv1alpha1.ConditionReady {
		return false, &StuckError{Key: nameOf(key), Reason: outcome.Reason, Message: outcome.Message}
	}
	return outcome.Status == metav1.ConditionTrue, nil
}

// RevocationEffective is the goal of a key that no verifier is to accept any more.
func RevocationEffective(key *keysv1alpha1.ApiKey) (bool, error) {
	return apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionRevocationEffective), nil
}

// Rotated is the goal of a key that was asked for a rotation: the token of its newest credential is published.
func Rotated(request string) Goal {
	return func(key *keysv1alpha1.ApiKey) (bool, error) {
		status := &key.Status
		if !keystate.Observed(key) {
			return false, nil
		}
		stalled := apimeta.FindStatusCondition(status.Conditions, keysv1alpha1.ConditionStalled)
		if stalled != nil && stalled.Status == metav1.ConditionTrue {
			return false, &StuckError{Key: nameOf(key), Reason: stalled.Reason, Message: stalled.Message}
		}
		if status.LastHandledRotateAt != request || len(status.Credentials) == 0 {
			return false, nil
		}
		return status.Credentials[len(status.Credentials)-1].PublishedTime != nil, nil
	}
}

func nameOf(key *keysv1alpha1.ApiKey) string { return key.Namespace + "/" + key.Name }

// TimeoutError names the keys that had not reached their goal in time. It unwraps to context.DeadlineExceeded or
// context.Canceled.
type TimeoutError struct {
	Waiting []string
	cause   error
}

// Error implements error.
func (e *TimeoutError) Error() string {
	return fmt.Sprintf("stopped waiting for ApiKey %s: %v", strings.Join(e.Waiting, ", "), e.cause)
}

// Unwrap implements errors.Unwrap.
func (e *TimeoutError) Unwrap() error { return e.cause }

// Await watches keys until each has reached the goal, never will, or is gone, or the context ends. It calls report with
// every state of every key that it sees, in order, and with done for the last one. If something is wrong with one key,
// it waits for the others all the same, and returns the error at the end.
func (c *Client) Await(
	ctx context.Context, keys []*keysv1alpha1.ApiKey, goal Goal, report func(key *keysv1alpha1.ApiKey, done bool),
) error {
	w := &wait{goal: goal, report: report, pending: map[types.NamespacedName]types.UID{}}
	for _, key := range keys {
		w.pending[client.ObjectKeyFromObject(key)] = key.UID
	}
	options := scopeOf(keys)
	for len(w.pending) > 0 {
		err := c.follow(ctx, w, options)
		switch {
		case len(w.pending) == 0:
		case ctx.Err() != nil:
			return errors.Join(w.failed, &TimeoutError{Waiting: w.names(), cause: ctx.Err()})
		case apierrors.IsResourceExpired(err) || apierrors.IsGone(err): // The watch fell behind: list again.
		case err != nil:
			return errors.Join(w.failed, err)
		}
	}
	return w.failed
}

// scopeOf returns the options of the smallest list that has all of some keys.
func scopeOf(keys []*keysv1alpha1.ApiKey) *client.ListOptions {
	options := &client.ListOptions{}
	if len(keys) > 0 &&
		!slices.ContainsFunc(keys, func(k *keysv1alpha1.ApiKey) bool { return k.Namespace != keys[0].Namespace }) {
		options.Namespace = keys[0].Namespace
	}
	if len(keys) == 1 {
		options.FieldSelector = fields.OneTermEqualSelector("metadata.name", keys[0].Name)
	}
	return options
}

// follow lists and then watches, until nothing is pending or something goes wrong.
func (c *Client) follow(ctx context.Context, w *wait, options *client.ListOptions) error {
	var list keysv1alpha1.ApiKeyList
	if err := c.api.List(ctx, &list, options); err != nil {
		return err
	}
	there := map[types.NamespacedName]bool{}
	for i := range list.Items {
		there[client.ObjectKeyFromObject(&list.Items[i])] = true
		w.see(&list.Items[i])
	}
	for name := range w.pending {
		if !there[name] {
			w.gone(name)
		}
	}
	if len(w.pending) == 0 {
		return nil
	}
	return c.watch(ctx, &list, options, list.ResourceVersion, func(event watch.Event) (done bool, err error) {
		if key, ok := event.Object.(*keysv1alpha1.ApiKey); ok && event.Type == watch.Deleted {
			w.gone(client.ObjectKeyFromObject(key))
		} else if ok {
			w.see(key)
		}
		return len(w.pending) == 0, nil
	})
}

// wait is the state of one Await.
type wait struct {
	goal    Goal
	report  func(key *keysv1alpha1.ApiKey, done bool)
	pending map[types.NamespacedName]types.UID
	failed  error
}

// see checks a key against the goal.
func (w *wait) see(key *keysv1alpha1.ApiKey) {
	name := client.ObjectKeyFromObject(key)
	uid, wanted := w.pending[name]
	if !wanted {
		return
	}
	if uid != key.UID {
		w.gone(name)
		return
	}
	reached, err := w.goal(key)
	if reached || err != nil {
		delete(w.pending, name)
		w.failed = errors.Join(w.failed, err)
	}
	w.report(key, reached)
}

// gone notes that a key was deleted.
func (w *wait) gone(name types.NamespacedName) {
	if _, wanted := w.pending[name]; wanted {
		delete(w.pending, name)
		w.failed = errors.Join(w.failed, fmt.Errorf("ApiKey %s was deleted meanwhile", name))
	}
}

// names returns the keys that are still waited for.
func (w *wait) names() []string {
	names := make([]string, 0, len(w.pending))
	for name := range w.pending {
		names = append(names, name.String())
	}
	slices.Sort(names)
	return names
}
