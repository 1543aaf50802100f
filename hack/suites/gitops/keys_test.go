package gitops_test

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/fixture"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/program"
)

// kinds has all states of all kinds.
var kinds = []struct {
	name   string
	states []state
}{
	{"ApiKey", keyStates},
	{"Tenant", tenantStates},
	{"AccessPolicy", policyStates},
}

var keyStates = []state{
	{name: "just created", reach: justCreated, kstatus: inProgress, argo: progressing},
	{name: "Announced: waiting for verifiers", reach: announced, kstatus: inProgress, argo: progressing},
	{name: "AwaitingDeletion", reach: awaitingDeletion, kstatus: inProgress, argo: progressing},
	{name: "Ready", reach: func(e *environment) client.Object { return e.readyKey() }, kstatus: current, argo: healthy},
	{name: "Ready, rotation waiting for verifiers", reach: rotating, kstatus: current, argo: healthy},
	{name: "Ready, rotated", reach: rotated, kstatus: current, argo: healthy},
	{name: "Ready, expiring soon", reach: expiringSoon, kstatus: current, argo: healthy},
	{name: "Ready, digest brought along", reach: registered, kstatus: current, argo: healthy},

	{name: "NoTenant", reach: noTenant, kstatus: failed, argo: degraded, flux: inProgress},
	{name: "AmbiguousTenant", reach: ambiguousTenant, kstatus: failed, argo: degraded},
	{name: "TenantChanged", reach: tenantChanged, kstatus: failed, argo: degraded},
	{name: "TenantSuspended", reach: tenantSuspended, kstatus: failed, argo: degraded},
	{name: "QuotaExceeded", reach: quotaExceeded, kstatus: failed, argo: degraded},
	{name: "UnknownScope", reach: keyWith(keysv1alpha1.ReasonUnknownScope, scopes("reviews:read")), kstatus: failed,
		argo: degraded, flux: inProgress},
	{name: "ScopeNotAllowed", reach: scopeNotAllowed, kstatus: failed, argo: degraded},
	{name: "ExpiryNotOffered", reach: keyWith(keysv1alpha1.ReasonExpiryNotOffered, expiry("45d")), kstatus: failed,
		argo: degraded},
	{name: "DigestConflict", reach: digestConflict, kstatus: failed, argo: degraded},
	{name: "SecretConflict", reach: secretConflict, kstatus: failed, argo: degraded},
	{name: "SecretRefused", reach: secretRefused, kstatus: failed, argo: degraded},
	{name: "InvalidTemplate", reach: keyWith(keysv1alpha1.ReasonInvalidTemplate, template(`{{"\q"}}`)), kstatus: failed,
		argo: degraded},
	{name: "NamespaceNotServed", reach: namespaceNotServed, kstatus: failed, argo: degraded},
	{name: "RootKeyLost", reach: rootKeyLost, kstatus: failed, argo: degraded},

	{name: "Suspended", reach: suspended, kstatus: current, argo: healthy},
	{name: "Expired", reach: expired, kstatus: current, argo: healthy},
	{name: "Revoked, verifiers still to follow", reach: revokedNotEffective, kstatus: inProgress, argo: progressing},
	{name: "Revoked", reach: revoked, kstatus: current, argo: healthy},

	{name: "changed, not seen yet", reach: changed, kstatus: inProgress, argo: progressing},
	{name: "fixed, not seen yet", reach: fixed, kstatus: inProgress, argo: progressing},
	{name: "being deleted", reach: beingDeleted, kstatus: terminating, argo: progressing, flux: inProgress},
	{name: "the verifiers' canary", reach: seenCanary, kstatus: current, argo: healthy, flux: unasked},
}

// seenCanary returns the canary once the controller has seen it.
func seenCanary(e *environment) client.Object {
	canary := e.canary()
	program.WaitUntil(e.t, timeout, "a canary that was seen", func() error {
		if err := e.Client.Get(e.t.Context(), client.ObjectKeyFromObject(canary), canary); err != nil {
			return err
		}
		if canary.Status.ObservedGeneration != canary.Generation {
			return fmt.Errorf("generation %d, observed %d", canary.Generation, canary.Status.ObservedGeneration)
		}
		return nil
	})
	return canary
}

func justCreated(e *environment) client.Object {
	e.withoutController()
	return e.key()
}

func announced(e *environment) client.Object {
	e.withStuckVerifier()
	key := e.key()
	e.awaitKey(key, keysv1alpha1.ReasonAnnounced)
	return key
}

func awaitingDeletion(e *environment) client.Object {
	// It is the Secret of the key's predecessor, which stays: no garbage collector is running.
	controller := true
	key := fixture.ApiKey(e.namespace.Name, "key")
	predecessor := metav1.OwnerReference{
		APIVersion: keysv1alpha1.GroupVersion.String(), Kind: "ApiKey", Name: key.Name,
		UID: "11111111-2222-4333-8444-555555555555", Controller: &controller,
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: key.Namespace, Name: key.Name, OwnerReferences: []metav1.OwnerReference{predecessor},
	}}
	e.create(e.tenant, e.namespace, secret, key)
	e.awaitKey(key, keysv1alpha1.ReasonAwaitingDeletion)
	return key
}

func rotating(e *environment) client.Object {
	key := e.readyKey()
	e.withStuckVerifier()
	update(e, key, rotateNow)
	e.awaitCredentials(key, 2)
	return key
}

func rotated(e *environment) client.Object {
	key := e.readyKey()
	update(e, key, rotateNow)
	e.awaitKey(key, keysv1alpha1.ReasonRotated)
	return key
}

func rotateNow(k *keysv1alpha1.ApiKey) {
	metav1.SetMetaDataAnnotation(&k.ObjectMeta, keysv1alpha1.RotateAtAnnotation, "now")
}

func expiringSoon(e *environment) client.Object {
	e.tenant.Spec.ExpiryOptions = []keysv1alpha1.Expiry{"1h"}
	return keyWith(keysv1alpha1.ReasonExpiringSoon, expiry("1h"))(e)
}

func registered(e *environment) client.Object {
	key := e.key(digest)
	e.awaitKey(key, keysv1alpha1.ReasonRegistered)
	return key
}

// keyWith returns a function that creates a key, and waits until the controller reports a reason for it.
func keyWith(reason string, change func(*keysv1alpha1.ApiKey)) func(*environment) client.Object {
	return func(e *environment) client.Object {
		key := e.key(change)
		e.awaitKey(key, reason)
		return key
	}
}

func scopes(s ...keysv1alpha1.Scope) func(*keysv1alpha1.ApiKey) {
	return func(k *keysv1alpha1.ApiKey) { k.Spec.Scopes = s }
}

func expiry(e keysv1alpha1.Expiry) func(*keysv1alpha1.ApiKey) {
	return func(k *keysv1alpha1.ApiKey) { k.Spec.Expiry = e }
}

func template(text keysv1alpha1.Template) func(*keysv1alpha1.ApiKey) {
	return func(k *keysv1alpha1.ApiKey) {
		k.Spec.Secret = &keysv1alpha1.SecretTemplate{Data: map[string]keysv1alpha1.Template{"file": text}}
	}
}

func digest(k *keysv1alpha1.ApiKey) {
	k.Spec.Digest = &keysv1alpha1.TokenDigest{
		SHA256: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
		Prefix: "nxc_live_7Hk2PqZx",
	}
}

func noTenant(e *environment) client.Object {
	e.namespace.Labels = nil
	return keyWith(keysv1alpha1.ReasonNoTenant, unchanged)(e)
}

func unchanged(*keysv1alpha1.ApiKey) {}

func ambiguousTenant(e *environment) client.Object {
	e.create(fixture.Tenant(fixture.Name("tenant"),
		func(t *keysv1alpha1.Tenant) { t.Spec.NamespaceSelector = e.tenant.Spec.NamespaceSelector }))
	return keyWith(keysv1alpha1.ReasonAmbiguousTenant, unchanged)(e)
}

func tenantChanged(e *environment) client.Object {
	key := e.readyKey()
	update(e, e.namespace, func(n *corev1.Namespace) { n.Labels = nil })
	e.awaitKey(key, keysv1alpha1.ReasonTenantChanged)
	return key
}

func tenantSuspended(e *environment) client.Object {
	e.tenant.Spec.State = keysv1alpha1.TenantSuspended
	return keyWith(keysv1alpha1.ReasonTenantSuspended, unchanged)(e)
}

func quotaExceeded(e *environment) client.Object {
	e.tenant.Spec.MaxKeys = new(int32(0))
	return keyWith(keysv1alpha1.ReasonQuotaExceeded, unchanged)(e)
}

func scopeNotAllowed(e *environment) client.Object {
	e.tenant.Spec.AllowedScopes = []keysv1alpha1.Scope{"orders:*"}
	return keyWith(keysv1alpha1.ReasonScopeNotAllowed, unchanged)(e)
}

func digestConflict(e *environment) client.Object {
	older := e.key(digest)
	e.awaitKey(older, keysv1alpha1.ReasonRegistered)
	// If both were created within a second, the name decides.
	key := e.anotherKey(digest, func(k *keysv1alpha1.ApiKey) { k.Name = "zz-" + k.Name })
	e.awaitKey(key, keysv1alpha1.ReasonDigestConflict)
	return key
}

func secretConflict(e *environment) client.Object {
	key := fixture.ApiKey(e.namespace.Name, "key")
	theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	e.create(e.tenant, e.namespace, theirs, key)
	e.awaitKey(key, keysv1alpha1.ReasonSecretConflict)
	return key
}

func secretRefused(e *environment) client.Object {
	key := fixture.ApiKey(e.namespace.Name, "key")
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "none"}}
	quota.Spec.Hard = corev1.ResourceList{"count/secrets": resource.MustParse("0")}
	e.create(e.tenant, e.namespace, quota)
	// kube-controller-manager does this.
	quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: quota.Spec.Hard}
	if err := e.Client.Status().Update(e.t.Context(), quota); err != nil {
		e.t.Fatal(err)
	}
	program.WaitUntil(e.t, timeout, "a quota that is in force", func() error {
		another := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: "another"}}
		if err := e.Client.Create(e.t.Context(), another, client.DryRunAll); err == nil {
			return errors.New("another Secret could be made")
		}
		return nil
	})
	e.create(key)
	e.awaitKey(key, keysv1alpha1.ReasonSecretRefused)
	return key
}

func rootKeyLost(e *environment) client.Object {
	key := e.readyKey()
	e.Controller.Kill() // It would remember root keys.
	e.delete(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Status.SecretName}})
	roots := client.InNamespace(controlplane.SystemNamespace)
	e.deleteAll(&corev1.Secret{}, roots, client.HasLabels{keysv1alpha1.RootLabel})
	e.restart()
	e.awaitKey(key, keysv1alpha1.ReasonRootKeyLost)
	return key
}

func namespaceNotServed(e *environment) client.Object {
	e.withNamespaces()
	return keyWith(keysv1alpha1.ReasonNamespaceNotServed, unchanged)(e)
}

func suspended(e *environment) client.Object {
	key := e.readyKey()
	update(e, key, asking(keysv1alpha1.ApiKeySuspended))
	e.awaitKey(key, keysv1alpha1.ReasonSuspended)
	return key
}

func expired(e *environment) client.Object {
	e.tenant.Spec.ExpiryOptions = []keysv1alpha1.Expiry{"1s"}
	return keyWith(keysv1alpha1.ReasonExpired, expiry("1s"))(e)
}

func revokedNotEffective(e *environment) client.Object {
	key := e.readyKey()
	e.withStuckVerifier()
	update(e, key, asking(keysv1alpha1.ApiKeyRevoked))
	e.awaitKey(key, keysv1alpha1.ReasonWaitingForVerifiers)
	return key
}

func revoked(e *environment) client.Object {
	key := e.readyKey()
	update(e, key, asking(keysv1alpha1.ApiKeyRevoked))
	e.awaitEffective(key)
	return key
}

func changed(e *environment) client.Object {
	key := e.readyKey()
	e.withoutController()
	update(e, key, asking(keysv1alpha1.ApiKeyRevoked))
	return key
}

func fixed(e *environment) client.Object {
	key, _ := keyWith(keysv1alpha1.ReasonUnknownScope, scopes("reviews:read"))(e).(*keysv1alpha1.ApiKey)
	e.withoutController()
	update(e, key, scopes("products:read"))
	return key
}

func beingDeleted(e *environment) client.Object {
	key := e.readyKey()
	update(e, key, func(k *keysv1alpha1.ApiKey) { k.Finalizers = []string{"example.com/somebody-elses"} })
	e.delete(key)
	return key
}

func asking(s keysv1alpha1.ApiKeyState) func(*keysv1alpha1.ApiKey) {
	return func(k *keysv1alpha1.ApiKey) { k.Spec.State = s }
}
