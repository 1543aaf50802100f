package verify

import "strings"

// UserPrefix is how the names of all users and groups begin that keys are to Kubernetes. Kubernetes' own begin with system:, and no identity provider's
// should begin with this.
const UserPrefix = "nexuscommerce:"

// UserName returns who a key is to Kubernetes, and "" where the decision identifies none:
// nexuscommerce:tenant:<tenant's id>:key:<namespace>/<name>. None of the parts can hold a colon.
func (d Decision) UserName() string {
	if d.Outcome != Allow || !d.Grant.Known() {
		return ""
	}
	return UserPrefix + "tenant:" + d.TenantID + ":key:" + d.Grant.Name
}

// UserGroups returns the groups of the user that a key is: all keys', its tenant's, and one for each scope that it has, within
// its tenant.
func (d Decision) UserGroups() []string {
	if d.Outcome != Allow || !d.Grant.Known() {
		return nil
	}
	tenant := UserPrefix + "tenant:" + d.TenantID
	groups := []string{UserPrefix + "keys", tenant}
	for scope := range strings.FieldsSeq(d.Grant.ScopesHeader) {
		groups = append(groups, tenant+":scope:"+scope)
	}
	return groups
}
