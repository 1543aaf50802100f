package console

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// details are everything that the page shows of a key beside its row.
type details struct {
	Row          *row                 `json:"row"`
	TenantID     string               `json:"tenantID,omitempty"`
	Granted      []keysv1alpha1.Scope `json:"granted,omitempty"`
	AllowedCIDRs []keysv1alpha1.CIDR  `json:"allowedCIDRs,omitempty"`
	Expiry       keysv1alpha1.Expiry  `json:"expiry"`
	NextRotation string               `json:"nextRotation,omitempty"`
	RotateEvery  keysv1alpha1.Period  `json:"rotateEvery,omitempty"`
	// Where is where the token is, in words, or that there is none.
	Where       string           `json:"where"`
	Credentials []credentialInfo `json:"credentials"`
	Conditions  []conditionInfo  `json:"conditions"`
	Events      []eventInfo      `json:"events"`
	// NoEvents is why no events are shown.
	NoEvents string `json:"noEvents,omitempty"`
	// Owner is what applies the key from Git or a chart.
	Owner string `json:"owner,omitempty"`
	// Warnings are what to know before a change, by the change's name.
	Warnings map[string]string `json:"warnings,omitempty"`
	YAML     string            `json:"yaml"`
}

// credentialInfo describes a token of a key by its public id.
type credentialInfo struct {
	ID         string `json:"id"`
	Issued     string `json:"issued"`
	Published  string `json:"published,omitempty"`
	ValidUntil string `json:"validUntil,omitempty"`
	LastUsed   string `json:"lastUsed,omitempty"`
}

// eventInfo is a Kubernetes event about a key.
type eventInfo struct {
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Warning bool   `json:"warning,omitempty"`
	Time    string `json:"time"`
	Count   int32  `json:"count"`
}

func (c *Console) showDetails(w http.ResponseWriter, r *http.Request, v *visitor) {
	ctx, cancel := withAPITimeout(r)
	defer cancel()
	key, err := v.client.Get(ctx, r.PathValue("namespace"), r.PathValue("name"))
	if err != nil {
		c.answerProblem(w, err)
		return
	}
	now := c.options.Now()
	d, err := newDetails(key, newRow(key, now), now)
	if err != nil {
		c.answerProblem(w, err)
		return
	}
	d.addEvents(ctx, v.client, key)
	answerJSON(w, http.StatusOK, d)
}

func newDetails(key *keysv1alpha1.ApiKey, shown *row, now time.Time) (*details, error) {
	text, err := manifest(key)
	d := &details{
		Row: shown, TenantID: key.Status.TenantID, Granted: key.Status.Scopes, AllowedCIDRs: key.Spec.AllowedCIDRs,
		Expiry: key.Spec.Expiry.OrNever(), Where: keys.Where(key), YAML: text,
		Credentials: []credentialInfo{}, Events: []eventInfo{}, Warnings: warnings(key),
	}
	if next := key.Status.NextRotationTime; next != nil {
		d.NextRotation = stamp(next.Time)
	}
	if key.Spec.Rotation != nil {
		d.RotateEvery = key.Spec.Rotation.Every
	}
	if owner := keys.OwnerOf(key); owner != nil {
		d.Owner = printable.Text(owner.Tool + ", " + owner.Name)
	}
	d.Conditions = newConditions(key)
	for i := range key.Status.Credentials {
		d.Credentials = append(d.Credentials, newCredential(key, &key.Status.Credentials[i], now))
	}
	slices.Reverse(d.Credentials) // The newest first.
	return d, err
}

func newCredential(key *keysv1alpha1.ApiKey, c *keysv1alpha1.Credential, now time.Time) credentialInfo {
	info := credentialInfo{ID: c.ID, Issued: stamp(c.IssuedTime.Time)}
	if c.PublishedTime != nil {
		info.Published = stamp(c.PublishedTime.Time)
	}
	if c.ValidUntil != nil {
		info.ValidUntil = stamp(c.ValidUntil.Time)
	}
	for _, use := range key.Status.Usage {
		if use.ID == c.ID {
			info.LastUsed = stamp(keys.NotAfter(use.LastUsedTime, now).Time)
		}
	}
	return info
}

// addEvents adds the events about the key. A user who may not read events sees the rest.
func (d *details) addEvents(ctx context.Context, client *keys.Client, key *keysv1alpha1.ApiKey) {
	events, err := client.Events(ctx, key)
	switch {
	case err != nil && explain(err).Reason == reasonForbidden:
		d.NoEvents = "You may not read events in this namespace."
	case err != nil:
		d.NoEvents = explain(err).Message
	case len(events) == 0:
		d.NoEvents = "Nothing was said lately. The cluster keeps events for an hour or so."
	}
	for _, e := range events {
		d.Events = append(
			d.Events,
			eventInfo{
				Reason:  e.Reason,
				Message: printable.Text(e.Message),
				Warning: e.Warning,
				Time:    stamp(e.Time),
				Count:   e.Count,
			},
		)
	}
}

// warnings returns what to know before each change of a key.
func warnings(key *keysv1alpha1.ApiKey) map[string]string {
	all := map[string]string{}
	if owner := keys.OwnerOf(key); owner != nil {
		for change, state := range states {
			all[change] = owner.Warning(key, state)
		}
	}
	if warning := keys.Page.OverlapWarning(key); warning != "" {
		all[changeRotate] = warning
	}
	return all
}

// manifest returns the part of a key that belongs in Git, as YAML.
func manifest(key *keysv1alpha1.ApiKey) (string, error) {
	text, err := yaml.Marshal(keys.Manifest(key))
	return strings.TrimSuffix(string(text), "status: {}\n"), err
}
