package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
)

// tally counts writes by kind of object. Verifiers' acknowledgements are writes of Keys.
type tally struct{ Keys, Status, Tenants, Secrets, Events float64 }

func (t tally) all() float64 { return t.Keys + t.Status + t.Tenants + t.Secrets + t.Events }

// since returns what was written since an earlier tally, per key.
func (t tally) since(former tally, n int) tally {
	by := float64(n)
	return tally{
		(t.Keys - former.Keys) / by, (t.Status - former.Status) / by, (t.Tenants - former.Tenants) / by,
		(t.Secrets - former.Secrets) / by, (t.Events - former.Events) / by,
	}
}

// writes returns how many writes the API server reports.
func (bed *testbed) writes(ctx context.Context) (t tally, err error) {
	page, err := bed.cp.RunKubectl(ctx, "get", "--raw", "/metrics")
	if err != nil {
		return t, err
	}
	for text := range strings.Lines(page) {
		if !strings.HasPrefix(text, "apiserver_request_total{") || !isWrite(text) {
			continue
		}
		count, err := strconv.ParseFloat(strings.TrimSpace(text[strings.LastIndexByte(text, ' ')+1:]), 64)
		if err != nil {
			return t, err
		}
		switch {
		case strings.Contains(text, `resource="apikeys"`) && strings.Contains(text, `subresource="status"`):
			t.Status += count
		case strings.Contains(text, `resource="apikeys"`):
			t.Keys += count
		case strings.Contains(text, `resource="tenants"`):
			t.Tenants += count
		case strings.Contains(text, `resource="secrets"`):
			t.Secrets += count
		case strings.Contains(text, `resource="events"`):
			t.Events += count
		}
	}
	return t, nil
}

func isWrite(text string) bool {
	for _, verb := range []string{"POST", "PUT", "PATCH", "APPLY", "DELETE"} {
		if strings.Contains(text, `verb="`+verb+`"`) {
			return true
		}
	}
	return false
}

// bare makes the writes that minting a key consists of, and does nothing else.
type bare struct {
	user, controller client.Client
	minted           yield
	secret           corev1.Secret
}

// writeMany makes the writes for keys of tenants that have none, as many for each key as a controller has made, and
// returns keys per second.
func (bed *testbed) writeMany(ctx context.Context, tenants []*keysv1alpha1.Tenant, minted yield) (float64, error) {
	controller, err := client.New(bed.cp.ServiceAccountConfig("apikey-controller"),
		client.Options{Scheme: bed.cp.Client.Scheme()})
	if err != nil {
		return 0, err
	}
	b := &bare{user: bed.cp.Client, controller: controller, minted: minted}
	if err := bed.cp.Client.Get(ctx, client.ObjectKeyFromObject(&minted.sample), &b.secret); err != nil {
		return 0, err
	}
	for _, tenant := range tenants {
		if err := bed.cp.Client.Get(ctx, client.ObjectKeyFromObject(tenant), tenant); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	// A tenant's ledger has one writer at a time, so there are never conflicts.
	err = each(ctx, len(tenants), func(ctx context.Context, i int) error {
		for n := range throughputKeys {
			if err := b.write(ctx, tenants[i], n); err != nil {
				return err
			}
		}
		return nil
	})
	return float64(len(tenants)*throughputKeys) / time.Since(began).Seconds(), err
}

// due reports whether a write that is not made for each key is made for the n-th.
func due(n int, perKey float64) bool {
	return int(float64(n+1)*perKey+0.001) > int(float64(n)*perKey+0.001)
}

// write makes the writes for the n-th key of a tenant.
func (b *bare) write(ctx context.Context, tenant *keysv1alpha1.Tenant, n int) error {
	key := fixture.ApiKey(tenant.Name, fmt.Sprintf("key-%02d", n))
	if err := b.user.Create(ctx, key); err != nil {
		return err
	}
	tenant.Status.ActiveKeys = append(tenant.Status.ActiveKeys,
		keysv1alpha1.ActiveKey{UID: string(key.UID), Namespace: key.Namespace, Name: key.Name})
	if due(n, b.minted.writes.Tenants) {
		if err := b.controller.Status().Update(ctx, tenant); err != nil {
			return err
		}
	}
	announced := b.minted.sample.Status.DeepCopy()
	announced.Conditions = announced.Conditions[:1]
	announced.Credentials[0].PublishedTime, announced.SecretName, announced.Binding = nil, "", nil
	if err := b.patch(ctx, key, announced); err != nil {
		return err
	}
	secret := b.secret.DeepCopy()
	secret.ObjectMeta = metav1.ObjectMeta{
		Namespace: key.Namespace, Name: key.Name, Labels: secret.Labels,
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(key, keysv1alpha1.GroupVersion.WithKind("ApiKey"))},
	}
	if err := b.controller.Create(ctx, secret); err != nil {
		return err
	}
	if err := b.patch(ctx, key, b.minted.sample.Status.DeepCopy()); err != nil {
		return err
	}
	if !due(n, b.minted.writes.Events) {
		return nil
	}
	return b.controller.Create(ctx, eventOf(key))
}

func (b *bare) patch(ctx context.Context, key *keysv1alpha1.ApiKey, status *keysv1alpha1.ApiKeyStatus) error {
	stored := key.DeepCopy()
	key.Status = *status
	return b.controller.Status().Patch(ctx, key, client.MergeFromWithOptions(stored, client.MergeFromWithOptimisticLock{}))
}

// eventOf returns an event as the controller records it.
func eventOf(key *keysv1alpha1.ApiKey) *eventsv1.Event {
	return &eventsv1.Event{
		ObjectMeta:          metav1.ObjectMeta{Namespace: key.Namespace, GenerateName: key.Name + "-"},
		EventTime:           metav1.NowMicro(),
		ReportingController: "apikey-controller",
		ReportingInstance:   "apikey-controller-bench",
		Action:              "Reconcile",
		Reason:              keysv1alpha1.ReasonIssued,
		Type:                corev1.EventTypeNormal,
		Note:                fmt.Sprintf("Secret %s holds the token.", key.Name),
		Regarding: corev1.ObjectReference{
			APIVersion: keysv1alpha1.GroupVersion.String(), Kind: "ApiKey",
			Namespace: key.Namespace, Name: key.Name, UID: key.UID, ResourceVersion: key.ResourceVersion,
		},
	}
}
