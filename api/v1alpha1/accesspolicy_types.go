package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Host is a lower-case DNS name without a port, or `*.` and one, which matches every name below it; or an IP address,
// of version 6 in brackets.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="self.matches('^[ -~]*$')",message="must be in ASCII: write an internationalised name in its ASCII form (punycode), such as xn--bcher-kva.example for bücher.example"
// +kubebuilder:validation:XValidation:rule="self.startsWith('[') || !self.matches('^[ -~]*$') || self.matches('^([*][.])?[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="must be a lower-case host name without scheme, port or trailing dot, such as api.example.com or *.example.com"
// +kubebuilder:validation:XValidation:rule="!self.startsWith('[') || self.endsWith(']') && isIP(self.substring(1, self.size() - 1)) && ip(self.substring(1, self.size() - 1)).family() == 6 && ip.isCanonical(self.substring(1, self.size() - 1))",message="must be an IPv6 address in brackets in its shortest form, without a port, such as [2001:db8::1]"
type Host string

// Method is an HTTP method in upper case.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=20
// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Z]+(-[A-Z]+)*$')",message="must be an HTTP method in upper case, such as GET; a rule without methods is for every method"
type Method string

// PathMatchType says how a path is compared.
//
// +kubebuilder:validation:Enum=Prefix;Exact
type PathMatchType string

const (
	// PathPrefix matches the path itself and every path below it, segment by segment: /api/products matches
	// /api/products/7 and not /api/products-old.
	PathPrefix PathMatchType = "Prefix"
	// PathExact matches the path itself only.
	PathExact PathMatchType = "Exact"
)

// AccessPolicySpec describes an API, and what each of its routes requires.
type AccessPolicySpec struct {
	// hosts are the API's host names. Without any, the policy only declares scopes.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	Hosts []Host `json:"hosts,omitempty"`

	// scopes declares the scopes that keys may request.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Scopes []ScopeDeclaration `json:"scopes,omitempty"`

	// rules says what each route requires. If several match, the most specific path wins, then the rule with methods. A
	// request that no rule matches is refused.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	Rules []AccessRule `json:"rules,omitempty"`
}

// ScopeDeclaration declares a scope.
type ScopeDeclaration struct {
	// name is the scope.
	//
	// +required
	Name Scope `json:"name,omitempty"`

	// description says what the scope allows, for the people who choose it.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches(r'^[^\\x00-\\x1f\\x7f-\\x9f\\xad\\x{61c}\\x{115f}\\x{1160}\\x{180e}\\x{200b}\\x{200e}\\x{200f}\\x{2028}-\\x{202e}\\x{2060}-\\x{206f}\\x{3164}\\x{feff}\\x{ffa0}\\x{fff9}-\\x{fffb}\\x{1d173}-\\x{1d17a}\\x{e0000}-\\x{e007f}]*$')",message="a description must have no line breaks, control characters, marks of direction or invisible characters"
	Description string `json:"description,omitempty"`
}

// AccessRule says what some routes require. A rule with neither scopes, anyOf nor anonymous lets every valid key pass.
//
// +kubebuilder:validation:XValidation:rule="!has(self.anonymous) || !self.anonymous || (!has(self.scopes) && !has(self.anyOf))",message="a rule that needs no key can't need scopes: remove anonymous, or scopes and anyOf",fieldPath=".anonymous"
type AccessRule struct {
	// paths are the paths that the rule is for.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Paths []PathMatch `json:"paths,omitempty"`

	// methods are the HTTP methods that the rule is for. Empty means every method.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	Methods []Method `json:"methods,omitempty"`

	// scopes are the scopes that a key must have, all of them.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Scopes []Scope `json:"scopes,omitempty"`

	// anyOf are scopes of which a key must have at least one.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	AnyOf []Scope `json:"anyOf,omitempty"`

	// anonymous lets requests pass without a key, such as CORS preflights. A request with a valid key is still identified;
	// one with an invalid key passes as anonymous.
	//
	// +optional
	Anonymous *bool `json:"anonymous,omitempty"` //nolint:kubeapilinter // There can be no third value.
}

// PathMatch is a path and how it is compared.
type PathMatch struct {
	// type is Prefix, which compares whole segments, or Exact. Where it is left out, it is Prefix.
	//
	// +optional
	Type PathMatchType `json:"type,omitempty"`

	// value is the path after percent-decoding.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.startsWith('/')",message="must start with /"
	// +kubebuilder:validation:XValidation:rule="!self.contains('//') && !self.matches('/[.][.]?(/|$)')",message="must have no empty, . or .. segments: no request with such a path is ever let through"
	// +kubebuilder:validation:XValidation:rule="!self.matches('[?#;%\\\\\\\\[:cntrl:]]')",message="must have no ?, #, ;, %, backslash or control character: no request with such a path is ever let through"
	// +kubebuilder:validation:XValidation:rule="!self.matches('[*{}]')",message="must have no *, { or }: paths are compared literally, and type Prefix covers every path below value"
	Value string `json:"value,omitempty"`
}

// AccessPolicyStatus says whether every rule of the policy is in effect.
type AccessPolicyStatus struct {
	// conditions are the latest observations of the policy.
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

	// rules is the number of spec.rules.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	Rules *int32 `json:"rules,omitempty"`
}

// AccessPolicy describes an API, and what each of its routes requires.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,categories=nexuscommerce
// +kubebuilder:printcolumn:name="Hosts",type=string,JSONPath=".spec.hosts"
// +kubebuilder:printcolumn:name="Rules",type=integer,JSONPath=".status.rules"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=".status.conditions[?(@.type=='Ready')].status"
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
type AccessPolicy struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec describes the API, and what each of its routes requires.
	//
	// +required
	Spec AccessPolicySpec `json:"spec,omitzero"`

	// status says whether every rule of the policy is in effect.
	//
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status AccessPolicyStatus `json:"status,omitempty,omitzero"`
}

// AccessPolicyList is a list of AccessPolicies.
//
// +kubebuilder:object:root=true
type AccessPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AccessPolicy `json:"items"`
}
