#!/bin/sh
# Runs every fuzz target of the module for a while, from its seeds and from what Go's cache has of earlier runs; as many
# targets at a time as there are cores. What fails is kept in the package's testdata/fuzz, which plain go test tries again.
#
#   fuzz.sh TIME [REGEXP]    TIME as go test -fuzztime takes it; REGEXP chooses among "internal/token FuzzParse" and so on
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

# The output of each in one piece, so that those of two don't mix.
export FUZZTIME="$1"
# shellcheck disable=SC2016 # The inner shell's variables.
echo "$targets" | xargs -P "$(getconf _NPROCESSORS_ONLN)" -L 1 sh -c '
	if log=$(go test -run="^$" -fuzz="^$1\$" -fuzztime="$FUZZTIME" -parallel=1 "./$0" 2>&1) ||
		# On a busy machine go test may take the end of the time for a failure, of which there is no input then.
		{ echo "$log" | grep -q "^ *context deadline exceeded$" && ! echo "$log" | grep -qE "Failing input|panic:|_test\.go:"; }; then
		echo "fuzz: $0 $1: $(echo "$log" | grep -o "execs: [0-9]*" | tail -n 1)"
	else
		printf "fuzz: %s %s: FAILED\n%s\n" "$0" "$1" "$log"
		exit 1
	fi'
