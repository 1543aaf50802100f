// Package version has the version of this project that a binary was built from.
package version

import "runtime/debug"

// version is set by the linker, see the Makefile.
var version string

// String returns the version that the linker set, else the commit that Go recorded, else "unknown".
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
