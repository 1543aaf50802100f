package pages

import "strings"

// varsAreDeprecated is what kustomize says of config/prometheus and config/components/cert-manager. Their vars follow
// the namespace that an overlay sets; replacements, which kustomize asks for instead, run before it is set.
const varsAreDeprecated = "# Warning: 'vars' is deprecated."

// Warns reports whether the output of a command has a warning that its reader would wonder about.
func Warns(output string) bool {
	return strings.Contains(strings.ReplaceAll(output, varsAreDeprecated, ""), "Warning:")
}
