#!/bin/sh
# Runs every fuzz target of the module for a while, from its seeds and the inputs in Go's cache; as many targets at a time as
# there are cores. Failing inputs are kept in the package's testdata/fuzz, where plain go test runs them again.
#
#   fuzz.sh TIME [REGEXP]    TIME is go test's -fuzztime; REGEXP selects targets such as "internal/token FuzzParse"
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
	echo "usage: $0 TIME [REGEXP]" >&2
	exit 2
fi
cd "$(dirname "$0")/.."

targets=$(grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' api cmd controllers internal |
	sed -E 's|/[^/]*:func | |' | grep -E -e "${2:-.}" | sort) || {
	echo "fuzz: no target matches ${2:-.}" >&2
	exit 1
}
echo "fuzz: $(echo "$targets" | wc -l) targets, $1 each"

# The output of each is printed at once, so that the outputs of two don't mix.
export FUZZTIME="$1"
# shellcheck disable=SC2016 # The inner shell's variables.
echo "$targets" | xargs -P "$(getconf _NPROCESSORS_ONLN)" -L 1 sh -c '
	if log=$(go test -run="^$" -fuzz="^$1\$" -fuzztime="$FUZZTIME" -parallel=1 "./$0" 2>&1) ||
		# On a busy machine go test may report the end of the time as a failure. Then there is no failing input.
		{ echo "$log" | grep -q "^ *context deadline exceeded$" && ! echo "$log" | grep -qE "Failing input|panic:|_test\.go:"; }; then
		echo "fuzz: $0 $1: $(echo "$log" | grep -o "execs: [0-9]*" | tail -n 1)"
	else
		printf "fuzz: %s %s: FAILED\n%s\n" "$0" "$1" "$log"
		exit 1
	fi'
