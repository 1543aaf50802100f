#!/bin/sh
# Builds one Go program of the module in DIR, for tools that take minutes the first time: a line of progress every
# 10 seconds, on standard error. It does nothing if OUT is newer than the go.mod and go.sum that pin it and, for a package of
# the module itself, such as ".", newer than everything in DIR.
#
#   go-build.sh DIR PACKAGE OUT [LDFLAGS [TAGS]]
set -eu

if [ $# -lt 3 ] || [ $# -gt 5 ]; then
	echo "usage: $0 DIR PACKAGE OUT [LDFLAGS [TAGS]]" >&2
	exit 2
fi
module=$1
package=$2
name=$(basename "$3")
ldflags=${4:--s -w}
tags=${5:-}

say() { printf '%s\n' "$*" >&2; }

case $package in
. | ./*) newer=$(find "$module" -type f -newer "$3" 2>/dev/null) || : ;;
*) newer=$(find "$module/go.mod" "$module/go.sum" -newer "$3" 2>/dev/null) || : ;;
esac
if [ -x "$3" ] && [ -z "$newer" ]; then
	exit 0
fi

mkdir -p "$(dirname "$3")"
dir=$(cd "$(dirname "$3")" && pwd)
new=$dir/.new-$name.$$ # Renamed when it is complete, so that nobody starts half a program.
log=$dir/.build-$name.$$.log

say "building $name from $package"
started=$(date +%s)
seconds() { echo $(($(date +%s) - started)); }

# The result runs on this machine, whatever platform the environment selects for the product.
(cd "$module" && CGO_ENABLED=0 GOFLAGS='' GOOS='' GOARCH='' GOWORK=off \
	exec go build -v -trimpath -buildvcs=false -tags "$tags" -ldflags "$ldflags" -o "$new" "$package") >"$log" 2>&1 &
pid=$!
stop() {
	trap - INT TERM HUP
	kill "$pid" 2>/dev/null || :
	wait "$pid" 2>/dev/null || :
	rm -f "$new" "$log"
	say "  $name: interrupted; what was compiled is kept in Go's build cache"
	exit 130
}
trap stop INT TERM HUP

ticks=0
while kill -0 "$pid" 2>/dev/null; do
	sleep 1
	ticks=$((ticks + 1))
	if [ $((ticks % 10)) -eq 0 ]; then
		say "  $name: $(grep -vc '^go: ' "$log" || :) packages compiled, now $(tail -n 1 "$log" | cut -c1-70) ($(seconds) s)"
	fi
done
if ! wait "$pid"; then
	say "  $name: the build failed; the end of its log:"
	tail -n 20 "$log" >&2
	rm -f "$new" "$log"
	exit 1
fi
mv "$new" "$3"
rm -f "$log"
say "  $name: done in $(seconds) s"
