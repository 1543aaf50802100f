package console

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// newKeyForm is what the form Generate New Key offers.
type newKeyForm struct {
	Groups []scopeGroup `json:"groups"`
	// Everything is the scope *, if it is offered.
	Everything *scopeOffer `json:"everything,omitempty"`
	// Free is why scopes have to be typed rather than chosen, blank if they can be chosen.
	Free     string                `json:"free,omitempty"`
	Expiries []keysv1alpha1.Expiry `json:"expiries"`
	// Full is that the tenant has no more keys left, and what to do; blank if it has.
	Full string `json:"full,omitempty"`
}

// scopeGroup has the scopes of one resource.
type scopeGroup struct {
	Resource string       `json:"resource"`
	Scopes   []scopeOffer `json:"scopes"`
}

// scopeOffer is a scope that a key may have.
type scopeOffer struct {
	Name        keysv1alpha1.Scope `json:"name"`
	Description string             `json:"description,omitempty"`
}

// usualExpiries are offered where the tenant's can't be read.
var usualExpiries = []keysv1alpha1.Expiry{"30d", "90d", "1y", keysv1alpha1.ExpiryNever}

func (c *Console) showForm(w http.ResponseWriter, r *http.Request, v *visitor) {
	ctx, cancel := withAPITimeout(r)
	defer cancel()
	policies, err := v.client.Policies(ctx)
	free := ""
	if err != nil {
		if explain(err).Reason != reasonForbidden {
			c.answerProblem(w, err)
			return
		}
		free = "You may not read access policies, so scopes can't be listed here. Write them, one a line: products:read, " +
			"products:*, or * for everything."
	}
	tenant, err := v.client.TenantFor(ctx, r.PathValue("namespace"))
	if err != nil {
		tenant = nil // The page's head says why, and the controller checks the key.
	}
	offer := newForm(keys.Catalogue(policies), tenant)
	if len(policies) == 0 && free == "" {
		free = "No access policy declares a scope yet. A key with a scope that nobody declares waits until somebody does."
	}
	offer.Free = free
	answerJSON(w, http.StatusOK, offer)
}

// newForm returns what keys of a tenant may be created with. If tenant is nil, that is everything.
func newForm(catalogue []keys.CatalogueScope, tenant *keysv1alpha1.Tenant) *newKeyForm {
	f := &newKeyForm{Groups: []scopeGroup{}, Expiries: usualExpiries}
	allowed := []keysv1alpha1.Scope{"*"}
	if tenant != nil {
		f.Expiries, allowed = tenant.Spec.ExpiryOptions, tenant.Spec.AllowedScopes
		if active, most := keys.Quota(tenant); active >= most {
			f.Full = "All " + plural(
				most,
				"key",
			) + " of " + nameOf(
				tenant,
			) + " are in use. " + keys.Page.Advice(keysv1alpha1.ReasonQuotaExceeded)
		}
	}
	for i := range catalogue {
		offer := scopeOffer{catalogue[i].Name, printable.Text(catalogue[i].Description)}
		if !slices.ContainsFunc(allowed, func(a keysv1alpha1.Scope) bool { return access.Covers(a, offer.Name) }) {
			continue
		}
		if offer.Name == "*" {
			f.Everything = &offer
			continue
		}
		resource, _, _ := strings.Cut(string(offer.Name), ":")
		at := slices.IndexFunc(f.Groups, func(g scopeGroup) bool { return g.Resource == resource })
		if at < 0 {
			f.Groups, at = append(f.Groups, scopeGroup{Resource: resource}), len(f.Groups)
		}
		f.Groups[at].Scopes = append(f.Groups[at].Scopes, offer)
	}
	return f
}

// filledForm is what a user has filled in.
type filledForm struct {
	Name          string   `json:"name"`
	DisplayName   string   `json:"displayName"`
	Scopes        []string `json:"scopes"`
	Expiry        string   `json:"expiry"`
	AllowedCIDRs  []string `json:"allowedCIDRs"`
	RotateEvery   string   `json:"rotateEvery"`
	RotateOverlap string   `json:"rotateOverlap"`
}

// readForm reads what a user has filled in.
func readForm(r *http.Request) (*filledForm, error) {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	filled := &filledForm{}
	err := decoder.Decode(filled)
	return filled, err
}

var period = regexp.MustCompile(`^[1-9]\d{0,4}[shdw]$`)

// check returns what is wrong with the values, where that can be said better here than by the API server.
func (f *filledForm) check() (wrong []fieldProblem) {
	is := func(broken bool, field, message string) {
		if broken {
			wrong = append(wrong, fieldProblem{field, message})
		}
	}
	is(strings.TrimSpace(f.DisplayName) == "", "displayName",
		"Give the key a name that says what uses it, such as Warehouse Integration.")
	is(utf8.RuneCountInString(f.DisplayName) > 128, "displayName", "A name has at most 128 characters.")
	is(!printable.Is(f.DisplayName), "displayName",
		"A name has no line breaks, control characters, marks of direction or invisible characters: type it anew.")
	is(len(validation.IsDNS1123Subdomain(f.Name)) > 0, "name",
		"Use lower-case letters, digits and hyphens, such as warehouse-integration, starting and ending with a letter or "+
			"digit.")
	is(len(f.Scopes) == 0, "scopes", "Choose at least one scope: a key without any could do nothing.")
	for _, block := range f.AllowedCIDRs {
		if message := blockProblem(block); message != "" {
			is(true, "allowedCIDRs", message)
			break
		}
	}
	is(f.RotateEvery != "" && !period.MatchString(f.RotateEvery), "rotateEvery",
		"Write a number with the unit s, h, d or w, such as 30d.")
	is(f.RotateOverlap != "" && !period.MatchString(f.RotateOverlap), "rotateOverlap",
		"Write a number with the unit s, h, d or w, such as 1d.")
	return wrong
}

// blockProblem says what is wrong with a block of addresses and how to correct it, blank if nothing is.
func blockProblem(block string) string {
	prefix, err := netip.ParsePrefix(block)
	if err != nil {
		if address, err := netip.ParseAddr(block); err == nil {
			return block + " is a single address: write " + netip.PrefixFrom(address, address.BitLen()).String() + "."
		}
		return "“" + block + "” is no block of addresses: write one a line, such as 203.0.113.0/24 or 2001:db8::/32."
	}
	if masked := prefix.Masked(); masked != prefix {
		return block + " begins in the middle of its block: write " + masked.String() + "."
	}
	return ""
}

// request returns the request for the key.
func (f *filledForm) request(namespace string) *keys.Request {
	return &keys.Request{
		Namespace: namespace, Name: f.Name, DisplayName: strings.TrimSpace(f.DisplayName), Scopes: f.Scopes, Expiry: f.Expiry,
		AllowedCIDRs: f.AllowedCIDRs, RotateEvery: f.RotateEvery, RotateOverlap: f.RotateOverlap,
	}
}
