package console

import (
	"context"
	"errors"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
)

// waitMost bounds how long a request waits for a change to take effect. The change itself stays requested.
const waitMost = 2 * time.Minute

// result is the outcome of a change, for the page's script.
type result struct {
	Row     *row   `json:"row"`
	Message string `json:"message"`
	// Token is the new token, shown this once; blank if there is none, or the user may not read it.
	Token string `json:"token,omitempty"`
	// Curl is a call of the API with the token.
	Curl string `json:"curl,omitempty"`
	YAML string `json:"yaml,omitempty"`
	// Where is where the token is, in words.
	Where string `json:"where,omitempty"`
	// Took is how many milliseconds the change took to take effect.
	Took int64 `json:"took"`
}

// states are the states that changes of state set.
var states = map[string]keysv1alpha1.ApiKeyState{
	changeSuspend: keysv1alpha1.ApiKeySuspended,
	changeResume:  keysv1alpha1.ApiKeyActive,
	changeRevoke:  keysv1alpha1.ApiKeyRevoked,
}

// create creates a key, and streams its progress. The last line has the token, if the user may read Secrets. The
// controller mints it, as for every other key, so that it is in the Secret for workloads too, and can be rotated.
func (c *Console) create(w http.ResponseWriter, r *http.Request, v *visitor) {
	filled, err := readForm(r)
	if err != nil {
		answerJSON(w, http.StatusBadRequest,
			&problem{Reason: reasonInvalid, Message: "The form can't be read. Load the page again."})
		return
	}
	if wrong := filled.check(); len(wrong) > 0 {
		answerJSON(w, http.StatusUnprocessableEntity,
			&problem{Reason: reasonInvalid, Message: "Some of this can't be taken as it is.", Fields: wrong})
		return
	}
	key := filled.request(r.PathValue("namespace")).Key()
	ctx, cancel := withAPITimeout(r)
	defer cancel()
	existed, err := v.client.Create(ctx, key, false)
	if existed && err == nil {
		err = &keys.ExistsError{Key: key} // The token of an existing key is shown to nobody.
	}
	if err != nil {
		c.answerProblem(w, err)
		return
	}
	t := c.newTask(w, r, v)
	defer t.cancel()
	t.say("The key is registered. Its token is being made.")
	t.await(key, keys.Ready, true)
}

// change rotates, suspends, resumes or revokes a key, and streams its progress.
func (c *Console) change(w http.ResponseWriter, r *http.Request, v *visitor) {
	name, change := r.PathValue("name"), r.PathValue("change")
	state, known := states[change]
	if !known && change != changeRotate {
		answerJSON(w, http.StatusNotFound, &problem{Reason: reasonNotFound, Message: "There is no such change."})
		return
	}
	ctx, cancel := withAPITimeout(r)
	defer cancel()
	key, err := v.client.Get(ctx, r.PathValue("namespace"), name)
	if err != nil {
		c.answerProblem(w, err)
		return
	}
	request := c.options.Now().UTC().Format(time.RFC3339Nano)
	if change == changeRotate {
		err = v.client.Rotate(ctx, key, request, false)
	} else {
		err = v.client.SetState(ctx, key, state, false)
	}
	if err != nil {
		c.answerProblem(w, err)
		return
	}
	t := c.newTask(w, r, v)
	defer t.cancel()
	switch change {
	case changeRotate:
		t.say("Asked for. The new token is being made.")
		t.await(key, keys.Rotated(request), true)
	case changeRevoke:
		t.say("Revoked. Waiting until every verifier refuses it.")
		t.await(key, keys.RevocationEffective, false)
	case changeResume:
		t.say("Asked for. Waiting until the key works again.")
		t.await(key, keys.Ready, false)
	default:
		t.finish(key, &result{Message: "The key is suspended: requests with it are refused until somebody resumes it."})
	}
}

// task is a change in progress, and the request that its progress is streamed to.
type task struct {
	console *Console
	client  *keys.Client
	ctx     context.Context //nolint:containedctx // A task lives no longer than its request.
	cancel  context.CancelFunc
	out     *writer
	began   time.Time
}

// newTask begins an answer that streams the progress of a change.
func (c *Console) newTask(w http.ResponseWriter, r *http.Request, v *visitor) *task {
	ctx, cancel := context.WithTimeout(r.Context(), waitMost)
	stop := context.AfterFunc(c.stopped, cancel)
	t := &task{console: c, client: v.client, ctx: ctx, out: newWriter(w), began: c.options.Now()}
	t.cancel = func() { stop(); cancel() }
	return t
}

// say streams a message. If the browser has gone away, nobody reads it; the change stays requested.
func (t *task) say(message string) { _ = t.out.write(&line{Type: "progress", Message: message}) }

// await waits for a goal, and streams what it waits for and then the result.
func (t *task) await(key *keysv1alpha1.ApiKey, goal keys.Goal, token bool) {
	said := ""
	err := t.client.Await(t.ctx, []*keysv1alpha1.ApiKey{key}, goal, func(seen *keysv1alpha1.ApiKey, done bool) {
		seen.DeepCopyInto(key)
		if message := waitingFor(seen); !done && message != said {
			said = message
			t.say(message)
		}
	})
	if err != nil {
		t.fail(err)
		return
	}
	done := &result{Message: "The key works again."}
	switch {
	case token:
		done.Message = "The key works."
		t.reveal(key, done)
	case keystate.Revoked(key):
		done.Message = "No verifier accepts this key any more."
		if c := apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionRevocationEffective); c != nil {
			done.Message += " " + c.Message
		}
	}
	t.finish(key, done)
}

// waitingFor returns what a key waits for, blank if its conditions don't say.
func waitingFor(key *keysv1alpha1.ApiKey) string {
	for _, name := range []string{keysv1alpha1.ConditionRevocationEffective, keysv1alpha1.ConditionReady} {
		c := apimeta.FindStatusCondition(key.Status.Conditions, name)
		if c != nil && c.Status != metav1.ConditionTrue {
			return c.Message
		}
	}
	return ""
}

// reveal adds the token to a result if the user may read it, and where it is otherwise. Nothing else in this package
// reveals a token.
func (t *task) reveal(key *keysv1alpha1.ApiKey, done *result) {
	done.Where = keys.Where(key)
	ctx, cancel := context.WithTimeout(t.ctx, apiTimeout)
	defer cancel()
	published, err := t.client.Published(ctx, key)
	switch {
	case apierrors.IsForbidden(err):
		done.Message = "The key works. You may not read Secrets in this namespace, so its token can't be shown here: have " +
			"it mounted, or ask somebody who may."
		return
	case err != nil:
		done.Message = "The key works, and its token can't be read now: " + explain(err).Message
		return
	}
	done.Token = published.Token.Reveal()
	policies, err := t.client.Policies(ctx)
	if err != nil {
		policies = nil // The example is then the API's base URL.
	}
	done.Curl = curl(done.Token, published.TenantID,
		example(published.APIBaseURL, keys.Catalogue(policies), key.Spec.Scopes))
}

// finish streams the result of the change.
func (t *task) finish(key *keysv1alpha1.ApiKey, done *result) {
	now := t.console.options.Now()
	done.Row, done.Took = newRow(key, now), now.Sub(t.began).Milliseconds()
	if text, err := manifest(key); err == nil {
		done.YAML = text
	}
	_ = t.out.write(&line{Type: "done", Result: done})
}

// fail streams what went wrong. The change stays requested all the same.
func (t *task) fail(err error) {
	p := t.console.explain(err)
	if timeout, ok := errors.AsType[*keys.TimeoutError](err); ok {
		p = explain(timeout.Unwrap())
	}
	if p.Reason == reasonStuck {
		p.Message += " The key stays in the list, and works once that is fixed."
	}
	_ = t.out.write(&line{Type: "problem", Problem: p})
}
