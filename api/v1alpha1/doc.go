// Package v1alpha1 holds the kinds of keys.nexuscommerce.io: ApiKey (a key and its grant), Tenant (a customer and
// what its keys may be) and AccessPolicy (an API and what its routes need).
//
// Anybody who may edit an ApiKey can take its grant away, through spec; only the controller can give one, through
// status. The verifier therefore reads grants from status alone and refusals from both.
//
// +kubebuilder:object:generate=true
// +groupName=keys.nexuscommerce.io
package v1alpha1
