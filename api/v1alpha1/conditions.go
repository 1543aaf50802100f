package v1alpha1

// Condition types of an ApiKey. Ready is computed from the others. Reconciling and Stalled are kstatus's, and present
// only while they are true. A Tenant has Ready, Suspended and Stalled.
const (
	// ConditionReady is True while the key is issued, published and accepted by verifiers, Unknown while the controller
	// waits, and False while only a person can fix what is wrong. A key that does not work as requested
	// (it is suspended, revoked or expired) has no Ready: kstatus reads a Ready that is False as an endless wait.
	ConditionReady = "Ready"
	// ConditionSuspended is True while the key, or the tenant, is suspended, and absent otherwise.
	ConditionSuspended = "Suspended"
	// ConditionAdmitted is True while the tenant may have what spec requests.
	ConditionAdmitted = "Admitted"
	// ConditionPublished is True while the Secret holds the newest credential's token.
	ConditionPublished = "Published"
	// ConditionRevoked is True once the controller has seen that the key is revoked.
	ConditionRevoked = "Revoked"
	// ConditionRevocationEffective is True once no live verifier can accept the key any more.
	ConditionRevocationEffective = "RevocationEffective"
	// ConditionExpired is True once the key's expiry has passed.
	ConditionExpired = "Expired"
	// ConditionReconciling is True while the controller waits for something that needs no action.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True while only a person can fix what keeps the key from being Ready.
	ConditionStalled = "Stalled"
)

// Reasons of an ApiKey's conditions, and of the events about it.
const (
	// ReasonReady says that the key works.
	ReasonReady = "Ready"
	// ReasonAdmitted says that what spec requests is granted.
	ReasonAdmitted = "Admitted"
	// ReasonIssued says that the Secret holds the token of the key's first credential.
	ReasonIssued = "Issued"
	// ReasonRotated says that the Secret holds the token of a credential that has replaced another.
	ReasonRotated = "Rotated"
	// ReasonRegistered says that a token made elsewhere is known by its digest, so there is no Secret.
	ReasonRegistered = "Registered"
	// ReasonAnnounced says that verifiers are learning a new credential, before its Secret is written.
	ReasonAnnounced = "Announced"
	// ReasonNotExpired says that the key's expiry has not passed.
	ReasonNotExpired = "NotExpired"
	// ReasonExpiringSoon says that the key's expiry is near.
	ReasonExpiringSoon = "ExpiringSoon"
	// ReasonWaitingForVerifiers says that a verifier may not have applied a revocation yet.
	ReasonWaitingForVerifiers = "WaitingForVerifiers"
	// ReasonSuspended says that the key was suspended, as requested.
	ReasonSuspended = "Suspended"
	// ReasonRevoked says that the key was revoked, as requested.
	ReasonRevoked = "Revoked"
	// ReasonExpired says that the key's expiry has passed.
	ReasonExpired = "Expired"
	// ReasonAwaitingDeletion says that a Secret of the key's predecessor by the same name is still being collected.
	ReasonAwaitingDeletion = "AwaitingDeletion"

	// ReasonNoTenant says that no Tenant selects the key's namespace.
	ReasonNoTenant = "NoTenant"
	// ReasonAmbiguousTenant says that two Tenants select the key's namespace, or have the same id.
	ReasonAmbiguousTenant = "AmbiguousTenant"
	// ReasonTenantChanged says that the key's namespace has moved to another tenant, or none. The key is refused.
	ReasonTenantChanged = "TenantChanged"
	// ReasonTenantSuspended says that the key's tenant is suspended.
	ReasonTenantSuspended = "TenantSuspended"
	// ReasonQuotaExceeded says that the tenant has as many active keys as it may.
	ReasonQuotaExceeded = "QuotaExceeded"
	// ReasonUnknownScope says that no AccessPolicy declares one of the scopes.
	ReasonUnknownScope = "UnknownScope"
	// ReasonScopeNotAllowed says that the tenant may not grant one of the scopes.
	ReasonScopeNotAllowed = "ScopeNotAllowed"
	// ReasonExpiryNotOffered says that the tenant does not offer the expiry.
	ReasonExpiryNotOffered = "ExpiryNotOffered"
	// ReasonNamespaceNotServed says that the controller may not keep Secrets in the key's namespace.
	ReasonNamespaceNotServed = "NamespaceNotServed"
	// ReasonSecretConflict says that somebody else's Secret has the name of the key's.
	ReasonSecretConflict = "SecretConflict"
	// ReasonSecretRefused says that the API server does not let the controller write the key's Secret, because of a quota,
	// a policy or a role.
	ReasonSecretRefused = "SecretRefused"
	// ReasonInvalidTemplate says that a template of spec.secret.data can't be rendered.
	ReasonInvalidTemplate = "InvalidTemplate"
	// ReasonDigestConflict says that an older key of the tenant has the same digest, or that its token was minted for a
	// key that is revoked.
	ReasonDigestConflict = "DigestConflict"
	// ReasonRootKeyLost says that the token can't be derived, because its root key is missing or has changed.
	ReasonRootKeyLost = "RootKeyLost"
)

// Reasons of a Tenant's Ready condition.
const (
	// ReasonActive says that the tenant's keys work.
	ReasonActive = "Active"
	// ReasonInvalidSelector says that namespaceSelector can't be evaluated, so the tenant has no namespaces.
	ReasonInvalidSelector = "InvalidSelector"
	// ReasonDuplicateID says that an older Tenant has the same id.
	ReasonDuplicateID = "DuplicateID"
)

// Reasons of an AccessPolicy's Ready condition.
const (
	// ReasonApplied says that every rule of the policy is in effect.
	ReasonApplied = "Applied"
	// ReasonConflict says that a rule of an older AccessPolicy, or an earlier one of the same, is for the same host, path
	// and method as one of the policy's, and takes precedence.
	ReasonConflict = "Conflict"
	// ReasonNoHosts says that the policy has rules, but no hosts.
	ReasonNoHosts = "NoHosts"
)
