#!/bin/sh
# Fails if code that is called has a known vulnerability. The database is on the network: if it can't be reached,
# nothing is checked. The script then says so, and fails only with VULN_REQUIRED=1.
#
#   VULNDB=URL   another copy of the database, such as file:///path
set -eu
cd "$(dirname "$0")/.."

output=$(mktemp)
trap 'rm -f "$output"' EXIT
code=0
go tool -modfile=hack/tools/govulncheck/go.mod govulncheck -db "${VULNDB:-https://vuln.go.dev}" ./... >"$output" 2>&1 || code=$?
cat "$output"
if [ "$code" -ne 0 ] && grep -q '^govulncheck: fetching vulnerabilities: ' "$output"; then
	echo "govulncheck: the vulnerability database can't be reached; not checked"
	[ "${VULN_REQUIRED:-}" = 1 ] || exit 0
fi
exit "$code"
