package verify

import "strings"

// UserPrefix is what the names of all Kubernetes users and groups that stand for keys begin with. Kubernetes' own names
// begin with system:, and no identity provider's should begin with this.
const UserPrefix = "nexuscommerce:"

// UserName returns the Kubernetes user that a key stands for, nexuscommerce:tenant:<tenant's
// id>:key:<namespace>/<name>, or "" if the decision identifies no key. None of the parts can contain a colon.
func (d Decision) UserName() string {
	if d.Outcome != Allow || !d.Grant.Known() {
		return ""
	}
	return UserPrefix + "tenant:" + d.TenantID + ":key:" + d.Grant.Name
}

// UserGroups returns the groups of the user that a key stands for: that of all keys, that of its tenant, and one for
// each of its scopes, within its tenant.
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
