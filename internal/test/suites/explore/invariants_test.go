package explore_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/index"
	"github.com/nexuscommerce/apikey-operator/internal/token"
	"github.com/nexuscommerce/apikey-operator/internal/verify"
)

// witness has what users and verifiers have seen in a run. Later states are compared with it.
type witness struct {
	// digests has the digest of each credential that was ever announced, by key and id; announced has the digests of
	// each key.
	digests   map[string]string
	announced map[string]bool
	tokens    map[string]*sighting
	// foreign has the Secrets that aren't ours, as they must stay. altered has those that a user has changed, by the
	// resourceVersion after the change.
	foreign, altered map[string]string
	// said has what controllers have said that may be logged.
	said []string

	last       *state
	shownStale bool
	probed     map[stale]bool
}

func newWitness() *witness {
	return &witness{
		digests:   map[string]string{},
		announced: map[string]bool{},
		tokens:    map[string]*sighting{},
		foreign:   map[string]string{},
		altered:   map[string]string{},
		last:      &state{},
		probed:    map[stale]bool{},
	}
}

// sighting is a token that was readable in a Secret.
type sighting struct {
	uid, tenantID string
	// last is when it was last readable.
	last time.Time
	// worked is set once it was accepted.
	worked bool
	// dead is set once its key was revoked, has expired or is gone. Nothing brings it back.
	dead bool
}

// check checks the latest state as users and verifiers see it, and fails the run for each violation.
func (r *run) check() {
	s := r.latest()
	if s != r.witness.last {
		r.credentialsStay(s)
		r.secretsAreOurs(s)
		r.foreignUntouched(s)
		r.quotaKept(s)
		r.noTokenElsewhere(s)
		r.witness.last = s
	}
	view := viewOf(s)
	r.tokensWork(s, view)
	r.revocationEffective(s)
}

// credentialsStay checks S4: an id has one digest forever, no credential goes before its time, and its time does not
// move.
func (r *run) credentialsStay(s *state) {
	for i := range s.keys {
		key := &s.keys[i]
		for _, c := range key.Status.Credentials {
			name := string(key.UID) + "/" + c.ID
			if known, ok := r.witness.digests[name]; ok && known != c.Digest {
				r.fail("S4: credential %s had digest %s and now %s", c.ID, known, c.Digest)
			}
			r.witness.digests[name] = c.Digest
			r.witness.announced[string(key.UID)+"/"+c.Digest] = true
		}
		if before := r.witness.last.keyByUID(key.UID); before != nil {
			r.noneCutShort(before, key)
		}
	}
}

func (r *run) noneCutShort(before, after *keysv1alpha1.ApiKey) {
	for _, c := range before.Status.Credentials {
		now := credential(after, c.ID)
		if now != nil && c.ValidUntil != nil && !c.ValidUntil.Equal(now.ValidUntil) {
			r.fail("S4: credential %s was valid until %s, and now until %s", c.ID, c.ValidUntil, now.ValidUntil)
		}
		if now == nil && !r.over(c.ValidUntil) && !r.over(before.Status.ExpiresTime) {
			r.fail("S4: credential %s is gone while it was valid", c.ID)
		}
	}
}

func credential(key *keysv1alpha1.ApiKey, id string) *keysv1alpha1.Credential {
	for i := range key.Status.Credentials {
		if key.Status.Credentials[i].ID == id {
			return &key.Status.Credentials[i]
		}
	}
	return nil
}

func (r *run) over(t *metav1.Time) bool { return t != nil && !r.clock.Now().Before(t.Time) }

// secretsAreOurs checks S2 for Secrets: a token is only in those that its key's UID owns. It also checks S4: the token
// is one that was announced.
func (r *run) secretsAreOurs(s *state) {
	for i := range s.secrets {
		secret := &s.secrets[i]
		altered := r.witness.altered[secret.Name] == secret.ResourceVersion
		owner := metav1.GetControllerOf(secret)
		if r.adopted(secret) {
			r.fail("S5: Secret %s was another's", secret.Name)
		}
		if text := string(secret.Data["token"]); token.WellFormed(text) && !altered {
			switch {
			case owner == nil:
				r.fail("S2: a token is in Secret %s, which nobody owns", secret.Name)
			case !r.witness.announced[string(owner.UID)+"/"+token.DigestOf(text).String()]:
				r.fail("S4: Secret %s has a token that its owner never announced", secret.Name)
			default:
				r.sight(s, text, string(owner.UID))
			}
		}
		for text, seen := range r.witness.tokens {
			if holds(secret, text) && !altered && (owner == nil || string(owner.UID) != seen.uid) {
				r.fail("S2: Secret %s has a token of another", secret.Name)
			}
		}
	}
}

// adopted reports whether a Secret of one key has become another's, such as that of a predecessor with the same name.
func (r *run) adopted(secret *corev1.Secret) bool {
	before := r.witness.last.secret(secret.Name)
	if before == nil || before.UID != secret.UID {
		return false
	}
	was, is := metav1.GetControllerOf(before), metav1.GetControllerOf(secret)
	return was != nil && is != nil && was.UID != is.UID
}

func (r *run) sight(s *state, text, uid string) {
	if r.witness.tokens[text] == nil {
		seen := &sighting{uid: uid}
		for i := range s.keys {
			if string(s.keys[i].UID) == uid {
				seen.tenantID = s.keys[i].Status.TenantID
			}
		}
		r.witness.tokens[text] = seen
	}
}

func holds(secret *corev1.Secret, text string) bool {
	for _, value := range secret.Data {
		if strings.Contains(string(value), text) {
			return true
		}
	}
	return false
}

// noTokenElsewhere checks S2 for everything else.
func (r *run) noTokenElsewhere(s *state) {
	for len(r.events.Events) > 0 {
		r.witness.said = append(r.witness.said, <-r.events.Events)
	}
	text, err := json.Marshal([]any{s.keys, s.tenants, s.namespace, r.witness.said})
	r.must(err)
	for seen := range r.witness.tokens {
		if strings.Contains(string(text), seen) {
			r.fail("S2: a token is in an object, an event or an error")
		}
	}
	r.witness.said = nil
}

// foreignUntouched checks S5.
func (r *run) foreignUntouched(s *state) {
	for name, want := range r.witness.foreign {
		got, err := json.Marshal(s.secret(name))
		r.must(err)
		if string(got) != want {
			r.fail("S5: the foreign Secret is now %s", got)
		}
	}
}

// quotaKept checks S3.
func (r *run) quotaKept(s *state) {
	for i := range s.tenants {
		active := 0
		for j := range s.keys {
			if key := &s.keys[j]; len(key.Status.Credentials) > 0 &&
				strings.EqualFold(key.Status.TenantID, s.tenants[i].Spec.ID) && r.alive(key) {
				active++
			}
		}
		if active > int(*s.tenants[i].Spec.MaxKeys) {
			r.fail("S3: %d keys are active, of at most %d", active, *s.tenants[i].Spec.MaxKeys)
		}
	}
}

// alive reports whether a key is neither revoked nor expired.
func (r *run) alive(key *keysv1alpha1.ApiKey) bool {
	return key.Spec.State == keysv1alpha1.ApiKeyActive && !r.over(key.Status.ExpiresTime) &&
		!apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionExpired) &&
		!apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionRevoked)
}

// overlap is how long a token works after it was last readable, in scenarios that set none.
const overlap = 24 * time.Hour

// tokensWork checks S8, and the promise of rotation: whoever reads a token can use it at every verifier at once, and
// during the overlap. It also checks S9: a token whose key has ended never works again.
func (r *run) tokensWork(s *state, view *index.View) {
	for text, seen := range r.witness.tokens {
		readable := false
		for i := range s.secrets {
			readable = readable || string(s.secrets[i].Data["token"]) == text
		}
		if readable {
			seen.last = r.clock.Now()
		}
		var key *keysv1alpha1.ApiKey
		for i := range s.keys {
			if string(s.keys[i].UID) == seen.uid {
				key = &s.keys[i]
			}
		}
		seen.dead = seen.dead || key == nil || !r.alive(key)
		decision := r.ask(view, text, seen.tenantID)
		if seen.dead {
			if decision.Outcome == verify.Allow {
				r.fail("S9: a token is accepted whose key was revoked, has expired or is gone")
			}
			continue
		}
		if (withdrawn(key) && seen.worked) || s.namespace.Labels[fixtureLabel] != r.tenants[0] ||
			!r.clock.Now().Before(seen.last.Add(overlap)) {
			continue
		}
		seen.worked = seen.worked || decision.Outcome == verify.Allow
		if decision.Outcome != verify.Allow {
			r.fail("S8: a token (readable: %t) is refused: %s", readable, decision.Reason)
		}
		r.knownToVerifiers(text, seen.tenantID, readable)
	}
}

// withdrawn reports whether a key is refused because its namespace has moved to another tenant, which the controller
// undoes once it sees the namespace back. Until then a token that has worked may be refused. A token that was not
// readable before must not be.
func withdrawn(key *keysv1alpha1.ApiKey) bool {
	admitted := apimeta.FindStatusCondition(key.Status.Conditions, keysv1alpha1.ConditionAdmitted)
	return admitted != nil && admitted.Reason == keysv1alpha1.ReasonTenantChanged
}

func (r *run) knownToVerifiers(text, tenantID string, readable bool) {
	for _, v := range r.verifiers {
		if r.askAt(v, text, tenantID).Reason == verify.ReasonUnknownToken {
			r.fail("S8: %s does not know a token (readable: %t)", v.name, readable)
		}
	}
}

// fixtureLabel is the label of namespaces that the fixtures' tenants select by.
const fixtureLabel = "nexuscommerce.io/tenant"

// revocationEffective checks S1: once a key says so, no live verifier accepts its tokens.
func (r *run) revocationEffective(s *state) {
	for i := range s.keys {
		key := &s.keys[i]
		if !apimeta.IsStatusConditionTrue(key.Status.Conditions, keysv1alpha1.ConditionRevocationEffective) {
			continue
		}
		for text, seen := range r.witness.tokens {
			for _, v := range r.verifiers {
				if seen.uid == string(key.UID) && r.askAt(v, text, seen.tenantID).Outcome == verify.Allow {
					r.fail("S1: %s accepts a token whose revocation is effective", v.name)
				}
			}
		}
	}
}

func describe(key *keysv1alpha1.ApiKey) string {
	text := key.Name
	for _, c := range key.Status.Conditions {
		text += fmt.Sprintf(" %s=%s/%s", c.Type, c.Status, c.Reason)
	}
	return text
}
