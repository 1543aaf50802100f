package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Environment selects the format of a tenant's tokens.
//
// +kubebuilder:validation:Enum=Live;Test
type Environment string

const (
	// EnvironmentLive is for keys that act on real data.
	EnvironmentLive Environment = "Live"
	// EnvironmentTest is for keys that act on test data.
	EnvironmentTest Environment = "Test"
)

// TenantState is the desired state of a tenant.
//
// +kubebuilder:validation:Enum=Active;Suspended
type TenantState string

const (
	// TenantActive is the state of a tenant whose keys work.
	TenantActive TenantState = "Active"
	// TenantSuspended is the state of a tenant all of whose keys are refused until it is made active again.
	TenantSuspended TenantState = "Suspended"
)

// TenantSpec describes a customer, and limits its keys.
type TenantSpec struct {
	// id is the UUID (RFC 9562) that requests name the tenant by, in the X-Tenant-ID header.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$')",message="must be a UUID such as 3714240b-2e06-4c35-8856-ccc1c096323e"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="id is immutable: create another Tenant"
	ID string `json:"id,omitempty"`

	// displayName is the customer's name. Default: the object's name.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[^\\x00-\\x1f\\x7f-\\x9f\\xad\\x{61c}\\x{115f}\\x{1160}\\x{180e}\\x{200b}\\x{200e}\\x{200f}\\x{2028}-\\x{202e}\\x{2060}-\\x{206f}\\x{3164}\\x{feff}\\x{ffa0}\\x{fff9}-\\x{fffb}\\x{1d173}-\\x{1d17a}\\x{e0000}-\\x{e007f}]*$')",message="a name must have no line breaks, control characters, marks of direction or invisible characters"
	DisplayName string `json:"displayName,omitempty"`

	// apiBaseURL is where the tenant's keys are used, such as https://your-nexuscommerce.com/api.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.matches('[?#[:space:]]') && !self.matches('^[^/]*//[^/]*@')",message="must have no query, fragment, space, user or password: clients append paths to it, and everybody who may read the tenant reads it",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() in ['https', 'http'] && url(self).getHostname() != ''",message="must be an http or https URL such as https://your-nexuscommerce.com/api"
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[^\\x00-\\x1f\\x7f-\\x9f\\xad\\x{61c}\\x{115f}\\x{1160}\\x{180e}\\x{200b}\\x{200e}\\x{200f}\\x{2028}-\\x{202e}\\x{2060}-\\x{206f}\\x{3164}\\x{feff}\\x{ffa0}\\x{fff9}-\\x{fffb}\\x{1d173}-\\x{1d17a}\\x{e0000}-\\x{e007f}]*$')",message="a URL must have no line breaks, control characters, marks of direction or invisible characters"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[^/]*//[^/]*/(.*/)?([.]|%2[eE]){0,2}(/.*)?$')",message="its path must have no slash at its end, and no empty, . or .. segments: clients append paths such as /products to it",reason=FieldValueForbidden
	APIBaseURL string `json:"apiBaseURL,omitempty"`

	// environment selects the format of the tenant's tokens: Live or Test.
	//
	// +optional
	// +kubebuilder:default=Live
	Environment Environment `json:"environment,omitempty"`

	// namespaceSelector selects the namespaces that belong to the tenant. A namespace belongs to one tenant; keys in a
	// namespace that two select are refused. An empty selector selects every namespace.
	//
	// +required
	NamespaceSelector *metav1.LabelSelector `json:"namespaceSelector,omitempty"`

	// maxKeys is how many of the tenant's keys may be active at a time. Lowering it stops new keys and ends none.
	//
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=500
	MaxKeys *int32 `json:"maxKeys,omitempty"`

	// expiryOptions are the expiries that a key may choose from.
	//
	// +optional
	// +listType=set
	// +kubebuilder:default={"30d","90d","1y","Never"}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:XValidation:rule="self.all(e, e != '')",message="an option can't be blank: write Never for keys that don't expire"
	ExpiryOptions []Expiry `json:"expiryOptions,omitempty"`

	// allowedScopes is the most that the tenant's keys may be granted.
	//
	// +optional
	// +listType=set
	// +kubebuilder:default={"*"}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	AllowedScopes []Scope `json:"allowedScopes,omitempty"`

	// allowedCIDRs are the blocks of addresses that requests with the tenant's keys may come from, whatever the keys
	// themselves allow. Empty allows any.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	AllowedCIDRs []CIDR `json:"allowedCIDRs,omitempty"`

	// state is Active, or Suspended: all the tenant's keys are refused until it is Active again.
	//
	// +optional
	// +kubebuilder:default=Active
	State TenantState `json:"state,omitempty"`
}

// TenantStatus is the tenant's quota ledger and its conditions.
type TenantStatus struct {
	// conditions are the latest observations of the tenant.
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

	// activeKeys is the quota ledger: a key holds a place here before its first credential is announced, and until it is
	// revoked, expired or deleted.
	//
	// +optional
	// +listType=map
	// +listMapKey=uid
	// +kubebuilder:validation:MaxItems=500
	ActiveKeys []ActiveKey `json:"activeKeys,omitempty"`

	// keys is the number of places taken in the ledger, and how many there are, such as 3/20.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16
	Keys string `json:"keys,omitempty"`
}

// ActiveKey is a place in a tenant's quota ledger.
type ActiveKey struct {
	// uid is the ApiKey's.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	UID string `json:"uid,omitempty"`

	// namespace is the ApiKey's.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// name is the ApiKey's.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// reservedTime is when the place was taken for the credential that the key is about to be issued with.
	//
	// +optional
	ReservedTime *metav1.MicroTime `json:"reservedTime,omitempty"`
}

// Tenant is a customer: the namespaces that belong to it, and the limits of the keys in them.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=nexuscommerce
// +kubebuilder:selectablefield:JSONPath=".spec.id"
// +kubebuilder:printcolumn:name="Tenant ID",type=string,JSONPath=".spec.id"
// +kubebuilder:printcolumn:name="Base URL",type=string,JSONPath=".spec.apiBaseURL"
// +kubebuilder:printcolumn:name="Env",type=string,JSONPath=".spec.environment"
// +kubebuilder:printcolumn:name="Keys",type=string,JSONPath=".status.keys"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
type Tenant struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec describes the customer, and limits its keys.
	//
	// +required
	Spec TenantSpec `json:"spec,omitzero"`

	// status is the tenant's quota ledger and its conditions.
	//
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status TenantStatus `json:"status,omitempty,omitzero"`
}

// TenantList is a list of Tenants.
//
// +kubebuilder:object:root=true
type TenantList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Tenant `json:"items"`
}
