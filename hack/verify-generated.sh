#!/bin/sh
# Fails if a generated file, which has just been written again, differs from the one in Git.
#
#   verify-generated.sh PATH...
set -eu
cd "$(dirname "$0")/.."

if ! git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
	echo "generated files: not checked: this is no Git checkout, so there is nothing to compare them with" >&2
	exit 1
fi
# An untracked file has no version in Git, so a comparison would always succeed.
untracked=$(git ls-files --others --exclude-standard -- "$@")
if [ -n "$untracked" ]; then
	printf 'generated files: not checked: add these to Git first:\n%s\n' "$untracked" >&2
	exit 1
fi
if ! git --no-pager diff --exit-code -- "$@"; then
	echo "generated files: out of date: run make generate manifests, and git add what changed" >&2
	exit 1
fi
echo "generated files: up to date"
