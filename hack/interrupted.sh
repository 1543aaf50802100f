#!/usr/bin/env bash
# Runs a command that does not end by itself, and interrupts it as Ctrl-C does once it has printed a text:
#
#   interrupted.sh TEXT LAST COMMAND [ARG...]
#
# Succeeds if it then ends, and has printed LAST.
set -euo pipefail

text=$1 last=$2
shift 2
log=$(mktemp)
trap 'rm "$log"' EXIT
set -m # Gives the command a process group, to which the signal is sent.
"$@" >"$log" 2>&1 &
command=$!
set +m
until grep -qF "$text" "$log"; do
	if ! kill -0 "$command" 2>/dev/null; then
		cat "$log"
		echo "interrupted.sh: $* has ended by itself"
		exit 1
	fi
	sleep 0.5
done
kill -INT -- "-$command"
wait "$command" || true # make reports an interrupt as a failure.
cat "$log"
grep -qF "$last" "$log"
