package gctuning

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// heapPercent is the part of the container's memory that Go's runtime may use before it collects as hard as it can. The
// rest is for memory that the runtime does not manage.
const heapPercent = 90

// RespectContainerLimit sets Go's memory limit from the memory limit of the container. GOMEMLIMIT takes precedence.
func RespectContainerLimit() {
	if limit, ok := memoryLimit("/sys/fs/cgroup"); ok && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 100 * heapPercent)
	}
}

// memoryLimit returns the memory limit in a cgroup file system, version 2 or 1. It reports false if there is none.
func memoryLimit(folder string) (int64, bool) {
	for _, name := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
		content, err := os.ReadFile(filepath.Join(folder, name)) //nolint:gosec // A file of the kernel's, at a fixed path.
		if err != nil {
			continue
		}
		limit, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
		return limit, err == nil && limit > 0 // Version 2 has "max" if there is no limit.
	}
	return 0, false
}
