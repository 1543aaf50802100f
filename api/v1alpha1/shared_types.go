package v1alpha1

// Scope is a permission: `resource:action`, `resource:*` for every action on a resource, or `*` for everything.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=128
// +kubebuilder:validation:XValidation:rule="self.matches('^([*]|[a-z0-9]([-a-z0-9]*[a-z0-9])?:([*]|[a-z0-9]([-a-z0-9]*[a-z0-9])?))$')",message="a scope is resource:action, resource:* or *, in lower-case letters, digits and hyphens, such as products:read"
type Scope string

// Expiry is how long after its issue a key stops working: a number with the unit `s`, `h`, `d`, `w` or `y` (calendar
// years, UTC), or `Never`.
//
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:XValidation:rule="self.matches('^(|Never|[1-9][0-9]{0,4}[shdw]|[1-9][0-9]?y)$')",message="an expiry is a number with the unit s, h, d or w (up to 99999) or y (up to 99), such as 30d, 90d or 1y, or Never"
type Expiry string

// ExpiryNever is the Expiry of a key that works until it is revoked.
const ExpiryNever Expiry = "Never"

// Period is a length of time: a number with the unit `s`, `h`, `d` or `w`.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:XValidation:rule="self.matches('^[1-9][0-9]{0,4}[shdw]$')",message="a period is a number up to 99999 with the unit s, h, d or w, such as 12h or 30d"
type Period string

// CIDR is a block of IPv4 or IPv6 addresses in the notation of RFC 4632 and RFC 4291, without host bits.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:XValidation:rule="isCIDR(self)",message="must be an IPv4 or IPv6 block such as 203.0.113.0/24 or 2001:db8::/32; a single address is written 203.0.113.7/32"
// +kubebuilder:validation:XValidation:rule="!isCIDR(self) || cidr(self) == cidr(self).masked()",message="has bits set after the prefix: write the block's first address, such as 203.0.113.0/24, or /32 (IPv6: /128) for a single address"
type CIDR string
