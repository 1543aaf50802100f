package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ApiKeyState is the desired state of a key.
//
// +kubebuilder:validation:Enum=Active;Suspended;Revoked
type ApiKeyState string

const (
	// ApiKeyActive is the state of a key that works.
	ApiKeyActive ApiKeyState = "Active"
	// ApiKeySuspended is the state of a key that is refused until it is made active again.
	ApiKeySuspended ApiKeyState = "Suspended"
	// ApiKeyRevoked is the state of a key that is refused permanently.
	ApiKeyRevoked ApiKeyState = "Revoked"
)

// ApiKeySpec is what is requested for a key.
//
// +kubebuilder:validation:XValidation:rule="has(self.digest) == has(oldSelf.digest)",message="digest can't be added or removed: create another ApiKey",fieldPath=".digest"
// +kubebuilder:validation:XValidation:rule="!has(self.digest) || !has(self.secret)",message="secret can't be set beside digest: a token made elsewhere is not known here, so no Secret is written",fieldPath=".secret"
// +kubebuilder:validation:XValidation:rule="!has(self.digest) || !has(self.rotation)",message="rotation can't be set beside digest: rotate by creating another ApiKey with the new token's digest",fieldPath=".rotation"
type ApiKeySpec struct {
	// displayName is a descriptive name, such as "Warehouse Integration". Default: the object's name.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[^\\x00-\\x1f\\x7f-\\x9f\\xad\\x{61c}\\x{115f}\\x{1160}\\x{180e}\\x{200b}\\x{200e}\\x{200f}\\x{2028}-\\x{202e}\\x{2060}-\\x{206f}\\x{3164}\\x{feff}\\x{ffa0}\\x{fff9}-\\x{fffb}\\x{1d173}-\\x{1d17a}\\x{e0000}-\\x{e007f}]*$')",message="a name must have no line breaks, control characters, marks of direction or invisible characters"
	DisplayName string `json:"displayName,omitempty"`

	// scopes is what the key may do. A scope that you remove is refused at once; a scope that you add is granted once
	// the controller has admitted it.
	//
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Scopes []Scope `json:"scopes,omitempty"`

	// expiry is how long after its issue the key stops working: one of the tenant's options. Default: Never.
	//
	// +optional
	Expiry Expiry `json:"expiry,omitempty"` //nolint:kubeapilinter // Empty is allowed, and means absent.

	// allowedCIDRs are the blocks of addresses that requests with this key may come from. Empty allows any.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	AllowedCIDRs []CIDR `json:"allowedCIDRs,omitempty"`

	// state is Active, Suspended (refused until it is Active again) or Revoked (refused permanently).
	//
	// +optional
	// +kubebuilder:default=Active
	// +kubebuilder:validation:XValidation:rule="oldSelf != 'Revoked' || self == 'Revoked'",message="a revoked key can't come back: create another ApiKey"
	State ApiKeyState `json:"state,omitempty"`

	// rotation replaces the token on a schedule. Without it, the token changes only when you set the rotateAt annotation.
	//
	// +optional
	Rotation *Rotation `json:"rotation,omitempty"`

	// secret describes the Secret that holds the token.
	//
	// +optional
	Secret *SecretTemplate `json:"secret,omitempty"`

	// digest registers a token made elsewhere: nothing is minted and no Secret is written.
	//
	// +optional
	Digest *TokenDigest `json:"digest,omitempty"`
}

// Rotation says when a token is replaced.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.every) || !has(self.overlap) || !self.every.matches('^[1-9][0-9]{0,4}[shdw]$') || !self.overlap.matches('^[1-9][0-9]{0,4}[shdw]$') || int(self.overlap.substring(0, self.overlap.size() - 1)) * {'s': 1, 'h': 3600, 'd': 86400, 'w': 604800}[self.overlap.substring(self.overlap.size() - 1)] < int(self.every.substring(0, self.every.size() - 1)) * {'s': 1, 'h': 3600, 'd': 86400, 'w': 604800}[self.every.substring(self.every.size() - 1)]",message="overlap must be shorter than every: at most two tokens of a key are valid at a time",fieldPath=".overlap"
type Rotation struct {
	// every is how long a token is used before it is replaced, at least an hour.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[0-9]{1,5}s$') || int(self.substring(0, self.size() - 1)) >= 3600",message="a token is replaced on schedule once an hour at most: write 1h or longer; for another token now, set the annotation keys.nexuscommerce.io/rotateAt"
	Every Period `json:"every,omitempty"`

	// overlap is how long the old token stays valid beside the new one. Default: a day, or half of every if
	// that is shorter.
	//
	// +optional
	Overlap Period `json:"overlap,omitempty"`
}

// Template is text in which {{ .Token }}, for example, stands for the token.
// ---
// The rule is the language of internal/secretdata as a regular expression; a fuzz test there compares the two.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=4096
// +kubebuilder:validation:XValidation:rule="self.matches(r'^(?:[^{]|[{][^{]|[{][{](?:-[ \\t\\r\\n]+|[ \\t\\r\\n]*)(?:(?:[.](?:Token|Authorization|TenantID|APIBaseURL|Prefix|ExpiresAt|Namespace|Name|DisplayName)|(?:\"(?:[^\"\\\\\\n]|\\\\.)*\"|`[^`]*`))(?:[ \\t\\r\\n]*[|][ \\t\\r\\n]*(?:json|base64|urlquery|html|shell))?|[.]Scopes(?:[ \\t\\r\\n]*[|][ \\t\\r\\n]*(?:json|join[ \\t\\r\\n]*(?:\"(?:[^\"\\\\\\n]|\\\\.)*\"|`[^`]*`)(?:[ \\t\\r\\n]*[|][ \\t\\r\\n]*(?:json|base64|urlquery|html|shell))?))?|/[*](?:[^*]|[*]+[^*/])*[*]+/)(?:[ \\t\\r\\n]+-|[ \\t\\r\\n]*)[}][}])*[{]?$')",message="holds something in {{ }} that templates don't have: they have {{ .Token }} and the other fields, which | json, | base64, | urlquery, | html or | shell may encode; see docs/apikey.md#templates"
type Template string

// LabelValue is the value of a label.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="!format.labelValue().validate(self).hasValue()",message="must be a valid label value: letters, digits, hyphens, underscores and dots, starting and ending with a letter or digit"
type LabelValue string

// SecretTemplate shapes the Secret that holds the token.
//
// +kubebuilder:validation:MinProperties=1
type SecretTemplate struct {
	// name is the Secret's name. Default: the ApiKey's name.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!format.dns1123Subdomain().validate(self).hasValue()",message="must be a DNS subdomain: lower-case letters, digits, hyphens and dots"
	Name string `json:"name,omitempty"`

	// labels are put on the Secret.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !format.qualifiedName().validate(k).hasValue())",message="must be valid label names: letters, digits, hyphens, underscores and dots, at most 63, and before them a DNS name and a slash where wanted, such as example.com/team"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('keys.nexuscommerce.io/') && k != 'app.kubernetes.io/managed-by')",message="keys.nexuscommerce.io/… and app.kubernetes.io/managed-by are set by the controller"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations are put on the Secret.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !format.qualifiedName().validate(k).hasValue())",message="must be valid annotation names: letters, digits, hyphens, underscores and dots, at most 63, and before them a DNS name and a slash where wanted, such as example.com/team"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('keys.nexuscommerce.io/'))",message="keys.nexuscommerce.io/… is set by the controller"
	// +kubebuilder:validation:XValidation:rule="self.all(k, self[k].size() <= 1024)",message="values are at most 1024 characters"
	Annotations map[string]string `json:"annotations,omitempty"`

	// data adds entries to the Secret. Each value is text in which {{ .Token }} stands for the token. The other fields are
	// .Authorization, .TenantID, .APIBaseURL, .Prefix, .ExpiresAt, .Namespace, .Name, .DisplayName and .Scopes.
	// {{ .DisplayName | json }} encodes a value as JSON; the other encoders are base64, urlquery, html and shell.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 253 && k.matches('^[-._a-zA-Z0-9]+$') && k != '.' && !k.startsWith('..'))",message="names are letters, digits, hyphens, underscores and dots, at most 253, and neither . nor anything that starts with .."
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['token', 'authorization', 'tenantId', 'apiBaseUrl', 'prefix', 'expiresAt', 'type', 'provider', 'uri']))",message="token, authorization, tenantId, apiBaseUrl, prefix, expiresAt, type, provider and uri are written by the controller: choose another name"
	Data map[string]Template `json:"data,omitempty"`
}

// TokenDigest registers a token that was made elsewhere, in the same format as a minted one.
// ---
// If somebody writes the token itself here, the error (FieldValueForbidden) does not repeat it, as into a pipeline's
// log.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="digest is immutable: create another ApiKey"
type TokenDigest struct {
	// sha256 is the SHA-256 digest of the whole token, in lower-case hexadecimal.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]{64}$')",message="must be 64 lower-case hexadecimal digits, as `printf %s \"$TOKEN\" | sha256sum` prints them",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="self != 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",message="is the digest of nothing: the token was empty when it was taken"
	SHA256 string `json:"sha256,omitempty"`

	// prefix is what a person recognises the token by: its format and the first 8 characters after it.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.size() <= 40 && self.matches('^[0-9A-Za-z_]+_[0-9A-Za-z]{8}$')",message="must be the token's format and the first 8 characters after it, such as nxc_live_7Hk2PqZx, and no more of it",reason=FieldValueForbidden
	Prefix string `json:"prefix,omitempty"`
}

// ApiKeyStatus is what the controller has granted, and what verifiers have seen.
type ApiKeyStatus struct {
	// conditions are Ready, and those that it is computed from.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of spec that this status is for, and -1 until the controller has seen the
	// object: kstatus would read an object without a status as done.
	//
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"` //nolint:kubeapilinter // Generations are never 0.

	// prefix is what a person recognises the key by: its format and the public id of its newest credential.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Prefix string `json:"prefix,omitempty"`

	// tenantID is the tenant that the key was issued to.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=36
	TenantID string `json:"tenantID,omitempty"`

	// scopes are those that the controller has admitted. A request must be within these and within spec.scopes.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Scopes []Scope `json:"scopes,omitempty"`

	// allowedCIDRs are those that the controller has admitted. A request must be within these and within
	// spec.allowedCIDRs; empty allows any.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	AllowedCIDRs []CIDR `json:"allowedCIDRs,omitempty"`

	// credentials are the key's tokens, by digest: the newest last, and during a rotation's overlap the one before it.
	//
	// +optional
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=2
	Credentials []Credential `json:"credentials,omitempty"`

	// issuedTime is when the key was issued. Its expiry counts from here.
	//
	// +optional
	IssuedTime *metav1.Time `json:"issuedTime,omitempty"`

	// expiresTime is when the key expires. A key without one does not expire.
	//
	// +optional
	ExpiresTime *metav1.Time `json:"expiresTime,omitempty"`

	// expires is the date of expiresTime, or Never.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=10
	Expires string `json:"expires,omitempty"`

	// lastUsedTime is when a verifier last accepted the key, to the verifiers' resolution.
	//
	// +optional
	LastUsedTime *metav1.Time `json:"lastUsedTime,omitempty"`

	// usage is when each credential was last accepted. It is the verifiers' own field.
	//
	// +optional
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=4
	Usage []CredentialUsage `json:"usage,omitempty"`

	// nextRotationTime is when the token is replaced next.
	//
	// +optional
	NextRotationTime *metav1.Time `json:"nextRotationTime,omitempty"`

	// lastHandledRotateAt is the value of the rotateAt annotation that was acted on last.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	LastHandledRotateAt string `json:"lastHandledRotateAt,omitempty"`

	// secretName is the Secret that holds the token, in the key's namespace.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`

	// binding makes the key a "provisioned service" of the Service Binding specification, servicebinding.io.
	//
	// +optional
	Binding *Binding `json:"binding,omitempty"`
}

// Credential is one token of a key, known by its digest.
type Credential struct {
	// id is public, random, and part of the token.
	//
	// +required
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=8
	ID string `json:"id,omitempty"`

	// digest is `sha256:` and the token's SHA-256 digest in hexadecimal.
	//
	// +required
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`

	// root is the number of the root key that the token is derived from. A token made elsewhere has none.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	Root int32 `json:"root,omitempty"`

	// issuedTime is when the credential was announced to verifiers.
	//
	// +required
	IssuedTime metav1.Time `json:"issuedTime,omitzero"`

	// publishedTime is when the Secret was seen to hold the token.
	//
	// +optional
	PublishedTime *metav1.Time `json:"publishedTime,omitempty"`

	// validUntil is when the credential stops working, if that is before the key's own expiry.
	//
	// +optional
	ValidUntil *metav1.Time `json:"validUntil,omitempty"`
}

// CredentialUsage is what verifiers have seen of one credential.
type CredentialUsage struct {
	// id is the credential's.
	//
	// +required
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=8
	ID string `json:"id,omitempty"`

	// lastUsedTime is when a verifier last accepted the credential, to the verifiers' resolution.
	//
	// +required
	LastUsedTime metav1.Time `json:"lastUsedTime,omitzero"`
}

// Binding names the Secret of a provisioned service.
type Binding struct {
	// name is the Secret's name.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// ApiKey is a long-lived bearer token for the tenant that its namespace belongs to.
//
// The kind's name is the one exception to Go's rule for initialisms in this project.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=nxkey,categories=nexuscommerce
// +kubebuilder:selectablefield:JSONPath=".spec.state"
// +kubebuilder:selectablefield:JSONPath=".status.prefix"
// +kubebuilder:selectablefield:JSONPath=".status.tenantID"
// +kubebuilder:printcolumn:name="Display Name",type=string,JSONPath=".spec.displayName"
// +kubebuilder:printcolumn:name="Prefix",type=string,JSONPath=".status.prefix"
// +kubebuilder:printcolumn:name="Scopes",type=string,JSONPath=".spec.scopes"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=".status.expires"
// +kubebuilder:printcolumn:name="Last Used",type=date,JSONPath=".status.lastUsedTime"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Tenant",type=string,JSONPath=".status.tenantID",priority=1
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=".spec.state",priority=1
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=".status.secretName",priority=1
type ApiKey struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what is requested for the key.
	//
	// +required
	Spec ApiKeySpec `json:"spec,omitzero"`

	// status is what the controller has granted, and what verifiers have seen.
	//
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status ApiKeyStatus `json:"status,omitempty,omitzero"`
}

// ApiKeyList is a list of ApiKeys.
//
// +kubebuilder:object:root=true
type ApiKeyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ApiKey `json:"items"`
}
