// Package version says which version of this project a binary is.
package version

import "runtime/debug"

// version is set by the linker, see the Makefile.
var version string

// String returns the version that the binary was built as, or the commit that Go recorded, or "unknown".
func String() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				return setting.Value
			}
		}
	}
	return "unknown"
}
