package collector

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// part is how much of a container's memory the heap may have before the collector does all it can, in percent. The rest is for what is
// not the heap's.
const part = 90

// Keep has the collector keep the process within the memory of its container, whatever becomes garbage and however fast. Where GOMEMLIMIT
// is set, that stands.
func Keep() {
	if limit, ok := limitOf("/sys/fs/cgroup"); ok && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 100 * part)
	}
}

// limitOf returns the memory limit that a folder of control groups has, in version 2 or 1. Not every process has one.
func limitOf(folder string) (int64, bool) {
	for _, name := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
		content, err := os.ReadFile(filepath.Join(folder, name)) //nolint:gosec // A file of the kernel's, below a folder that it has named.
		if err != nil {
			continue
		}
		limit, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
		return limit, err == nil && limit > 0 // Without one, version 2 says "max".
	}
	return 0, false
}
