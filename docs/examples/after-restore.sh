#!/bin/sh
# Takes from a cluster that was restored what had been taken away before: after-restore.sh LIST, where LIST is what
# keys-in-force.sh printed last. It can be run again.
#
#   a key that isn't in the list          is revoked: it had been revoked or deleted
#   a key that is Suspended in the list   is suspended
#   a token that isn't in the list        had been replaced: the key is rotated, which ends it after the overlap
set -eu
list=$1
if [ ! -s "$list" ]; then
	echo "$list is empty or not there: without a list, nobody knows what had been taken away" >&2
	exit 1
fi
now=$("$(dirname "$0")/keys-in-force.sh")
printf '%s\n' "$now" | awk 'FNR == NR { state[$3] = $4; for (i = 5; i <= NF; i++) known[$3 " " $i]; next }
NF < 4 { next }
!($3 in state) { print $1, $2, $3, "Revoked"; next }
state[$3] == "Suspended" && $4 != "Suspended" { print $1, $2, $3, "Suspended" }
{ for (i = 5; i <= NF; i++) if (!($3 " " $i in known)) { print $1, $2, $3, "rotated"; break } }' "$list" - |
	while read -r namespace name uid action; do
		# With the UID, so that nothing happens to another key of that name.
		patch='{"metadata":{"uid":"'$uid'"},"spec":{"state":"'$action'"}}'
		if [ "$action" = rotated ]; then
			patch='{"metadata":{"uid":"'$uid'","annotations":{"keys.nexuscommerce.io/rotateAt":"restored '$(date -u +%FT%TZ)'"}}}'
		fi
		kubectl patch apikey -n "$namespace" "$name" --type=merge -p "$patch"
	done
