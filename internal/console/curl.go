package console

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/access"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
)

// curl returns a curl command that calls the API.
func curl(token, tenantID, target string) string {
	return fmt.Sprintf("curl %s \\\n  -H %s \\\n  -H %s", quoted(target), quoted("Authorization: Bearer "+token),
		quoted("X-Tenant-ID: "+tenantID))
}

// plain matches text that needs no escaping between double quotes.
var plain = regexp.MustCompile(`^[-A-Za-z0-9_.:/ ~%+,=@]*$`)

// wordOnly matches text that needs no quotes.
var wordOnly = regexp.MustCompile(`^[-A-Za-z0-9_.:/~%+,=@]+$`)

// quoted quotes a word for a shell.
func quoted(text string) string {
	switch {
	case wordOnly.MatchString(text):
		return text
	case plain.MatchString(text):
		return `"` + text + `"`
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// example returns a URL below a base that a key with the given scopes may read, or the base if none is known.
func example(base string, catalogue []keys.CatalogueScope, scopes []keysv1alpha1.Scope) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	covered := func(scope keysv1alpha1.Scope) bool {
		return slices.ContainsFunc(scopes, func(s keysv1alpha1.Scope) bool { return access.Covers(s, scope) })
	}
	for i := range catalogue {
		if !covered(catalogue[i].Name) {
			continue
		}
		for _, route := range catalogue[i].Routes {
			reads := len(route.Methods) == 0 || slices.Contains(route.Methods, "GET")
			below := strings.HasPrefix(route.Path, strings.TrimSuffix(u.Path, "/")+"/")
			if reads && below && strings.EqualFold(string(route.Host), u.Host) &&
				!slices.ContainsFunc(route.With, func(s keysv1alpha1.Scope) bool { return !covered(s) }) {
				u.Path = route.Path
				return u.String()
			}
		}
	}
	return base
}

// plural writes a count.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
