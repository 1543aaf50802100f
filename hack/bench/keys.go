package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// credentialID is the credential ID of every key.
const credentialID = "7Hk2PqZx"

const (
	// perTenant is how many keys a tenant has where only the number of keys counts: fewer tenants take less time to set
	// up.
	perTenant = 450
	// quota is how many active keys a tenant may have by default. The size of a Tenant grows with it.
	quota = 20
)

// subject is a key with which verifiers are asked.
type subject struct {
	name     client.ObjectKey
	uid      string
	tenantID string
	token    string
}

// population is a set of keys in the state in which the controller leaves them, with their places in their tenants'
// ledgers: a controller that starts finds nothing to do.
type population struct {
	tenants []*keysv1alpha1.Tenant
	keys    []subject
}

// populate lets a controller mint one key, and copies it, perTenant times for each tenant. If revokedEvery is not 0,
// every copy with a number divisible by it is revoked.
func (bed *testbed) populate(ctx context.Context, n, perTenant, revokedEvery int) (*population, error) {
	p := &population{}
	template, digest, err := bed.template(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := bed.addTenants(ctx, p, n/perTenant+1); err != nil {
		return nil, err
	}
	ledgers := map[string][]keysv1alpha1.ActiveKey{}
	p.keys = make([]subject, n)
	err = bed.cp.Seed(ctx, client.ObjectKeyFromObject(template), n, func(i int) (client.ObjectKey, []string) {
		tenant := p.tenants[1+i/perTenant]
		uid := fixture.UUID()
		tok := mint(uid)
		name := client.ObjectKey{Namespace: tenant.Name, Name: fmt.Sprintf("key-%06d", i)}
		p.keys[i] = subject{name: name, uid: uid, tenantID: tenant.Spec.ID, token: tok.Reveal()}
		ledgers[tenant.Name] = append(ledgers[tenant.Name],
			keysv1alpha1.ActiveKey{UID: uid, Namespace: name.Namespace, Name: name.Name})
		pairs := []string{
			template.Name, name.Name, template.Namespace, name.Namespace, string(template.UID), uid,
			template.Status.TenantID, tenant.Spec.ID,
			hexOf(digest), hexOf(tok.Digest()), digest.ID(), tok.Digest().ID(),
		}
		if revokedEvery > 0 && i%revokedEvery == 0 {
			pairs = append(pairs, `"state":"Active"`, `"state":"Revoked"`)
		}
		return name, pairs
	})
	if err != nil {
		return nil, err
	}
	return p, bed.keepLedgers(ctx, p.tenants[1:], ledgers)
}

// keepLedgers writes which keys have places in their tenants' quotas, as the controller does: for one tenant through
// the API server, which takes long for hundreds of places, and for tenants with as many keys directly into etcd.
func (bed *testbed) keepLedgers(ctx context.Context, tenants []*keysv1alpha1.Tenant,
	ledgers map[string][]keysv1alpha1.ActiveKey) error {
	granting, err := client.New(bed.cp.ServiceAccountConfig("apikey-controller"),
		client.Options{Scheme: bed.cp.Client.Scheme()})
	if err != nil {
		return err
	}
	var copies []*keysv1alpha1.Tenant
	first := tenants[0]
	for _, tenant := range tenants {
		if tenant != first && len(ledgers[tenant.Name]) == len(ledgers[first.Name]) {
			copies = append(copies, tenant)
			continue
		}
		if err := bed.cp.Client.Get(ctx, client.ObjectKeyFromObject(tenant), tenant); err != nil {
			return err
		}
		tenant.Status.ActiveKeys = ledgers[tenant.Name]
		if err := granting.Status().Update(ctx, tenant); err != nil {
			return err
		}
	}
	return bed.cp.SeedTenants(ctx, client.ObjectKeyFromObject(first), len(copies),
		func(i int) (client.ObjectKey, []string) {
			tenant := copies[i]
			pairs := []string{first.Name, tenant.Name, string(first.UID), string(tenant.UID), first.Spec.ID, tenant.Spec.ID}
			for n, place := range ledgers[first.Name] {
				own := ledgers[tenant.Name][n]
				pairs = append(pairs, place.UID, own.UID, `"`+place.Name+`"`, `"`+own.Name+`"`)
			}
			return client.ObjectKeyFromObject(tenant), pairs
		})
}

// template returns a key as a controller has left it. That controller no longer runs.
func (bed *testbed) template(ctx context.Context, p *population) (*keysv1alpha1.ApiKey, token.Digest, error) {
	controller, err := bed.controller(ctx)
	if err != nil {
		return nil, token.Digest{}, err
	}
	tenant, err := bed.tenant(ctx, p)
	if err != nil {
		return nil, token.Digest{}, err
	}
	tok := mint("template")
	key := fixture.ApiKey(tenant.Name, fixture.Name("template"), func(k *keysv1alpha1.ApiKey) {
		k.Spec.Scopes = []keysv1alpha1.Scope{"products:read", "products:write", "orders:read"}
		k.Spec.Digest = &keysv1alpha1.TokenDigest{SHA256: hexOf(tok.Digest()), Prefix: tok.Prefix()}
	})
	if err := bed.cp.Client.Create(ctx, key); err != nil {
		return nil, token.Digest{}, err
	}
	if err := bed.awaitReady(ctx, key); err != nil {
		return nil, token.Digest{}, err
	}
	return key, tok.Digest(), bed.stop(controller)
}

// tenant creates a tenant with a namespace of the same name.
func (bed *testbed) tenant(ctx context.Context, p *population) (*keysv1alpha1.Tenant, error) {
	tenant, err := bed.newTenant(ctx)
	if err == nil {
		p.tenants = append(p.tenants, tenant)
	}
	return tenant, err
}

// addTenants creates n tenants, several at a time.
func (bed *testbed) addTenants(ctx context.Context, p *population, n int) error {
	tenants := make([]*keysv1alpha1.Tenant, n)
	err := each(ctx, n, func(ctx context.Context, i int) (err error) {
		tenants[i], err = bed.newTenant(ctx)
		return err
	})
	p.tenants = append(p.tenants, tenants...)
	return err
}

func (bed *testbed) newTenant(ctx context.Context) (*keysv1alpha1.Tenant, error) {
	tenant := fixture.Tenant(fixture.Name("tenant"), func(t *keysv1alpha1.Tenant) { t.Spec.MaxKeys = ptr.To[int32](500) })
	if err := bed.cp.Client.Create(ctx, tenant); err != nil {
		return nil, err
	}
	return tenant, bed.cp.Client.Create(ctx, fixture.Namespace(tenant.Name, tenant.Name))
}

func (bed *testbed) awaitReady(ctx context.Context, key *keysv1alpha1.ApiKey) error {
	return bed.follow(ctx, key, func(k *keysv1alpha1.ApiKey) bool {
		return apimeta.IsStatusConditionTrue(k.Status.Conditions, keysv1alpha1.ConditionReady)
	})
}

// watch watches one key from a resourceVersion on; "0" means from what the API server has cached. Without a
// resourceVersion, the server would first ask etcd for its progress, every 100 ms, and the wait would be most of what
// is measured.
func (bed *testbed) watch(ctx context.Context, key client.ObjectKey, version string) (watch.Interface, error) {
	return bed.cp.Client.Watch(ctx, &keysv1alpha1.ApiKeyList{}, client.InNamespace(key.Namespace),
		&client.ListOptions{Raw: &metav1.ListOptions{FieldSelector: "metadata.name=" + key.Name, ResourceVersion: version}})
}

// follow watches a key from its resourceVersion on, until a condition holds.
func (bed *testbed) follow(ctx context.Context, key *keysv1alpha1.ApiKey, holds func(*keysv1alpha1.ApiKey) bool) error {
	watcher, err := bed.watch(ctx, client.ObjectKeyFromObject(key), key.ResourceVersion)
	if err != nil {
		return err
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		if seen, ok := event.Object.(*keysv1alpha1.ApiKey); ok {
			seen.DeepCopyInto(key)
			if holds(key) {
				return nil
			}
		}
	}
	return fmt.Errorf("a watch of ApiKey %s ended: %w", key.Name, context.Cause(ctx))
}

// mint returns the token of an ApiKey's UID.
func mint(uid string) token.Token {
	root, err := token.RootFrom([]byte(strings.Repeat("r", token.RootLength)))
	if err != nil {
		panic(err) // The root has the right length.
	}
	tok, err := token.Derive(root, token.FormatLive, uid, credentialID)
	if err != nil {
		panic(err) // So have all of these.
	}
	return tok
}

func hexOf(digest token.Digest) string { return hex.EncodeToString(digest[:]) }
