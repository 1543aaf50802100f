package programs

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

const mebibyte = 1 << 20

// CompilerMemory returns the environment variables that keep Go's compiler and linker from collecting garbage while
// memory is free. A compiler runs for about a second, and spends a third of it on collecting. Each variable has the
// form NAME=value. It returns none if memory is short or unknown, or if the environment sets one of them itself.
func CompilerMemory() []string {
	for _, name := range CompilerVariables() {
		if os.Getenv(name) != "" {
			return nil
		}
	}
	return compilerMemory(availableMemory(), runtime.GOMAXPROCS(0))
}

// CompilerVariables returns the names of the variables that CompilerMemory sets, for those who start programs that are
// not compilers.
func CompilerVariables() []string { return []string{"GOGC", "GOMEMLIMIT"} }

// compilerMemory shares half of the available bytes among the compilers that run at a time, one per processor. The
// largest package needs less than a gibibyte, so Go's default is better if there is less than that for each, or if the
// amount is unknown.
func compilerMemory(available int64, processors int) []string {
	const enough, plenty = 1024 * mebibyte, 2048 * mebibyte
	each := min(available/int64(2*processors), plenty)
	if each < enough {
		return nil
	}
	return []string{"GOGC=off", fmt.Sprintf("GOMEMLIMIT=%dMiB", each/mebibyte)}
}

// availableMemory returns the bytes that new programs can use without swapping, by Linux' /proc/meminfo, or 0 if that
// is unknown.
func availableMemory() int64 {
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer file.Close() //nolint:errcheck // It was only read.
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		value, found := strings.CutPrefix(scanner.Text(), "MemAvailable:")
		if !found {
			continue
		}
		kibibytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0
		}
		return kibibytes << 10
	}
	return 0
}
